/* layout: the tables behind layout.h, one row per field and one column per version.
 *
 * FIXED_FIELDS is all of 3.8-3.12. For 3.13 and later most fields are bindings: the place of a number, or of
 * two whose sum or difference we want, in the _Py_DebugOffsets of each minor; SUPPLEMENT_FIELDS has what that
 * table does not tell. tests/layout compiles the headers of each version and compares every field, so no
 * number here is trusted because it was typed. Offsets are those of 64-bit Linux builds without Py_DEBUG or
 * Py_TRACE_REFS.
 *
 * What frame.instr means. 3.8-3.9: f_lasti is the byte offset of the instruction being executed, -1 before
 * the first. 3.10: the same in units of 2 bytes. 3.11-3.12: prev_instr points at the code unit before the
 * next instruction, which is the one being executed while it runs, and an inline cache of the CALL in a frame
 * whose callee is a Python function; -1 unit before the first. 3.13+: instr_ptr points at the instruction
 * being executed, in callers too. In each of them the line table entry that covers the place is the one to
 * report.
 */
#include "python/layout.h"

#include <errno.h>
#include <string.h>

#define NO_OWNER 0xff
#define ANY_BIT UINT32_MAX

/* clang-format off */

/*                              3.8     3.9    3.10    3.11    3.12 */
#define FIXED_FIELDS(F) \
    F(version,                  0x0308, 0x0309, 0x030a, 0x030b, 0x030c)                             \
    F(free_threaded,             false,  false,  false,  false,  false)                             \
    F(frame_kind, FRAME_OBJECT, FRAME_OBJECT, FRAME_OBJECT, FRAME_CFRAME, FRAME_CFRAME)             \
    F(lines_kind, LINES_LNOTAB, LINES_LNOTAB, LINES_LINETABLE, LINES_LOCATIONS, LINES_LOCATIONS)    \
    F(instance_kind, INSTANCE_DICT, INSTANCE_DICT, INSTANCE_DICT, INSTANCE_VALUES, INSTANCE_TAGGED) \
    F(owners.thread,            NO_OWNER, NO_OWNER, NO_OWNER,      0,      0)                       \
    F(owners.generator,         NO_OWNER, NO_OWNER, NO_OWNER,      1,      1)                       \
    F(owners.frame_object,      NO_OWNER, NO_OWNER, NO_OWNER,      2,      2)                       \
    F(owners.interpreter,       NO_OWNER, NO_OWNER, NO_OWNER, NO_OWNER, NO_OWNER)                   \
    F(owners.c_stack,           NO_OWNER, NO_OWNER, NO_OWNER, NO_OWNER,      3)                     \
    F(runtime.interpreters_head,     32,     32,     32,     40,     40)                            \
    F(runtime.interpreters_main,     40,     40,     40,     48,     48)                            \
    F(runtime.tstate_current,     1368,    568,    568,    576, ABSENT)                             \
    F(runtime.gil,                1152,    352,    352,    360, ABSENT)                             \
    F(runtime.gc_collecting,       544, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(runtime.finalizing,           16,     16,     16,     24,     24)                             \
    F(runtime.initialized,          12,     12,     12,     16,     16)                             \
    F(interp.id,                    16,     24,     24,     48,      8)                             \
    F(interp.next,                   0,      0,      0,      0,      0)                             \
    F(interp.threads_head,           8,      8,      8,     16,     72)                             \
    F(interp.threads_main,      ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(interp.gc_collecting,     ABSENT,    816,    816,    848,    312)                             \
    F(interp.gc_frame,          ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(interp.gil_pointer,       ABSENT, ABSENT, ABSENT, ABSENT,    384)                             \
    F(interp.modules,               56,    856,    856,    888,    944)                             \
    F(interp.code_generation,   ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(interp.tlbc_generation,   ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(interp.size,                  64,    864,    864,    896,    952)                             \
    F(gil.last_holder,               8,      8,      8,      8,      8)                             \
    F(gil.locked,                   16,     16,     16,     16,     16)                             \
    F(gil.enabled,              ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(gil.size,                    208,    208,    208,    208,    208)                             \
    F(tstate.next,                   8,      8,      8,      8,      8)                             \
    F(tstate.prev,                   0,      0,      0,      0,      0)                             \
    F(tstate.interp,                16,     16,     16,     16,     16)                             \
    F(tstate.frame,                 24,     24,     24,     56,     56)                             \
    F(tstate.thread_id,            176,    176,    176,    152,    136)                             \
    F(tstate.native_thread_id,  ABSENT, ABSENT, ABSENT,    160,    144)                             \
    F(tstate.datastack_chunk,   ABSENT, ABSENT, ABSENT,    296,    232)                             \
    F(tstate.datastack_top,     ABSENT, ABSENT, ABSENT,    304,    240)                             \
    F(tstate.status,            ABSENT, ABSENT, ABSENT, ABSENT,     24)                             \
    F(tstate.state,             ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(tstate.holds_gil,         ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(tstate.holds_gil_mask,         0,      0,      0,      0,      0)                             \
    F(tstate.gil_requested,     ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(tstate.base_frame,        ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(tstate.size,                 184,    184,    184,    312,    248)                             \
    F(cframe.current_frame,     ABSENT, ABSENT, ABSENT,      8,      0)                             \
    F(frame.previous,               24,     24,     24,     48,      8)                             \
    F(frame.code,                   32,     32,     32,     32,      0)                             \
    F(frame.code_tag_mask,           0,      0,      0,      0,      0)                             \
    F(frame.instr,                 104,    104,     96,     56,     56)                             \
    F(frame.lasti_unit,              1,      1,      2,      0,      0)                             \
    F(frame.owner,              ABSENT, ABSENT, ABSENT,     69,     70)                             \
    F(frame.state,                 116,    116,    108, ABSENT, ABSENT)                             \
    F(frame.state_running,           1,      1,      0, ABSENT, ABSENT)                             \
    F(frame.is_entry,           ABSENT, ABSENT, ABSENT,     68, ABSENT)                             \
    F(frame.stacktop,           ABSENT, ABSENT, ABSENT,     64,     64)                             \
    F(frame.stackpointer,       ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(frame.locals,                360,    360,    352,     72,     72)                             \
    F(frame.local_tag_mask,           0,      0,      0,      0,      0)                            \
    F(frame.tlbc_index,         ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(frame.size,                  120,    120,    112,     72,     72)                             \
    F(code.filename,               104,    104,    104,    112,    112)                             \
    F(code.name,                   112,    112,    112,    120,    120)                             \
    F(code.qualname,            ABSENT, ABSENT, ABSENT,    128,    128)                             \
    F(code.firstlineno,             40,     40,     40,     72,     68)                             \
    F(code.linetable,              120,    120,    120,    136,    136)                             \
    F(code.bytecode,                48,     48,     48,    184,    192)                             \
    F(code.bytecode_inline,          0,      0,      0,      1,      1)                             \
    F(code.tlbc,                ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(code.varnames,                 72,     72,     72, ABSENT, ABSENT)                            \
    F(code.cellvars,                 88,     88,     88, ABSENT, ABSENT)                            \
    F(code.freevars,                 80,     80,     80, ABSENT, ABSENT)                            \
    F(code.localsplusnames,      ABSENT, ABSENT, ABSENT,     96,     96)                            \
    F(code.localspluskinds,      ABSENT, ABSENT, ABSENT,    104,    104)                            \
    F(code.size,                   128,    128,    128,    184,    192)                             \
    F(object.type,                   8,      8,      8,      8,      8)                             \
    F(object.var_size,              16,     16,     16,     16,     16)                             \
    F(object.type_name,             24,     24,     24,     24,     24)                             \
    F(bytes.size,                   16,     16,     16,     16,     16)                             \
    F(bytes.data,                   32,     32,     32,     32,     32)                             \
    F(unicode.length,               16,     16,     16,     16,     16)                             \
    F(unicode.state,                32,     32,     32,     32,     32)                             \
    F(unicode.ascii_data,           48,     48,     48,     48,     40)                             \
    F(unicode.data,                 72,     72,     72,     72,     56)                             \
    F(unicode.kind_shift,            2,      2,      2,      2,      2)                             \
    F(unicode.ascii_shift,           6,      6,      6,      6,      6)                             \
    F(unicode.compact_shift,         5,      5,      5,      5,      5)                             \
    F(dict.keys,                    32,     32,     32,     32,     32)                             \
    F(dict.values,                  40,     40,     40,     40,     40)                             \
    F(dict.used,                    16,     16,     16,     16,     16)                             \
    F(keys.size,                     8,      8,      8, ABSENT, ABSENT)                             \
    F(keys.log2_size,           ABSENT, ABSENT, ABSENT,      8,      8)                             \
    F(keys.log2_index_bytes,    ABSENT, ABSENT, ABSENT,      9,      9)                             \
    F(keys.kind,                ABSENT, ABSENT, ABSENT,     10,     10)                             \
    F(keys.nentries,                32,     32,     32,     24,     24)                             \
    F(keys.indices,                 40,     40,     40,     32,     32)                             \
    F(keys.values_first,             0,      0,      0,      0,      0)                             \
    F(instance.flags,              168,    168,    168,    168,    168)                             \
    F(instance.basicsize,           32,     32,     32,     32,     32)                             \
    F(instance.dictoffset,         288,    288,    288,    288,    288)                             \
    F(instance.base,                256,    256,    256,    256,    256)                            \
    F(instance.cached_keys,        872,    864,    872,    872,    880)                             \
    F(instance.dict_before,     ABSENT, ABSENT, ABSENT,     24,     24)                             \
    F(instance.values_before,   ABSENT, ABSENT, ABSENT,     32, ABSENT)                             \
    F(module.dict,                  16,     16,     16,     16,     16)                             \
    F(set.used,                      24,     24,     24,     24,     24)                            \
    F(set.table,                     40,     40,     40,     40,     40)                            \
    F(set.mask,                      32,     32,     32,     32,     32)                            \
    F(tuple.items,                   24,     24,     24,     24,     24)                            \
    F(list.items,                    24,     24,     24,     24,     24)                            \
    F(cell.content,                  16,     16,     16,     16,     16)                            \
    F(number.real,                   16,     16,     16,     16,     16)                            \
    F(number.complex,                16,     16,     16,     16,     16)                            \
    F(integer.tag,               ABSENT, ABSENT, ABSENT, ABSENT,     16)                            \
    F(integer.digits,                24,     24,     24,     24,     24)                            \
    F(generator.name,           ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(generator.iframe,         ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(generator.frame_state,    ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)                             \
    F(generator.awaiting,            0,      0,      0,      0,      0)                             \
    F(generator.awaited_slot,        0,      0,      0,      0,      0)

/*                            3.13   3.13t    3.14   3.14t    3.15   3.15t */
#define SUPPLEMENT_FIELDS(F) \
    F(version,                 0x030d, 0x030d, 0x030e, 0x030e, 0x030f, 0x030f)             \
    F(free_threaded,            false,   true,  false,   true,  false,   true)             \
    F(owners.thread,                  0,        0,        0,        0,        0,        0) \
    F(owners.generator,               1,        1,        1,        1,        1,        1) \
    F(owners.frame_object,            2,        2,        2,        2,        2,        2) \
    F(owners.interpreter,      NO_OWNER, NO_OWNER,        3,        3,        3,        3) \
    F(owners.c_stack,                 3,        3,        4,        4, NO_OWNER, NO_OWNER) \
    F(runtime.tstate_current,  ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)             \
    F(runtime.gil,             ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)             \
    F(runtime.gc_collecting,   ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)             \
    F(gil.size,                   208,    216,    208,    216,    208,    216)             \
    F(tstate.holds_gil_mask,       32,     32, ANY_BIT, ANY_BIT, ANY_BIT, ANY_BIT)         \
    F(cframe.current_frame,    ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)             \
    F(frame.code_tag_mask,          0,      0,      3,      1,      3,      3)             \
    F(frame.lasti_unit,             0,      0,      0,      0,      0,      0)             \
    F(frame.state,             ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)             \
    F(frame.state_running,     ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)             \
    F(frame.is_entry,          ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)             \
    F(frame.local_tag_mask,           0,      0,      3,      3,      3,      3)           \
    F(frame.stacktop,              64,     64, ABSENT, ABSENT, ABSENT, ABSENT)             \
    F(code.bytecode_inline,         1,      1,      1,      1,      1,      1)             \
    F(code.varnames,             ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)           \
    F(code.cellvars,             ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)           \
    F(code.freevars,             ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)           \
    F(unicode.kind_shift,           2,      2,      2,      8,      2,      8)             \
    F(unicode.ascii_shift,          6,      6,      6,     12,      6,     12)             \
    F(unicode.compact_shift,        5,      5,      5,     11,      5,     11)             \
    F(keys.size,               ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)             \
    F(keys.log2_size,               8,      8,      8,      8,      8,      8)             \
    F(keys.log2_index_bytes,        9,      9,      9,      9,      9,      9)             \
    F(keys.kind,                   10,     10,     10,     10,     10,     10)             \
    F(keys.nentries,               24,     24,     24,     24,     24,     24)             \
    F(keys.indices,                32,     32,     32,     32,     32,     32)             \
    F(keys.values_first,            8,      8,      8,      8,      8,      8)             \
    F(instance.cached_keys,       880,    896,    880,    896,    888,    904)             \
    F(instance.dict_before,        24,      8,     24,      8,     24,      8)             \
    F(instance.values_before,  ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)             \
    F(generator.awaiting,           0,      0,     -1,     -1,      2,      2)             \
    F(generator.awaited_slot,       0,      0,      1,      1,      2,      2)

#define PICK_3_8(field, a, b, c, d, e) .field = a,
#define PICK_3_9(field, a, b, c, d, e) .field = b,
#define PICK_3_10(field, a, b, c, d, e) .field = c,
#define PICK_3_11(field, a, b, c, d, e) .field = d,
#define PICK_3_12(field, a, b, c, d, e) .field = e,

static const struct layout fixed[] = {
    {FIXED_FIELDS(PICK_3_8)},
    {FIXED_FIELDS(PICK_3_9)},
    {FIXED_FIELDS(PICK_3_10)},
    {FIXED_FIELDS(PICK_3_11)},
    {FIXED_FIELDS(PICK_3_12)},
};

#define SAME_SINCE_3_13 \
    .frame_kind = FRAME_CURRENT, .lines_kind = LINES_LOCATIONS, .instance_kind = INSTANCE_INLINE,
#define PICK_3_13(field, a, b, c, d, e, f) .field = a,
#define PICK_3_13T(field, a, b, c, d, e, f) .field = b,
#define PICK_3_14(field, a, b, c, d, e, f) .field = c,
#define PICK_3_14T(field, a, b, c, d, e, f) .field = d,
#define PICK_3_15(field, a, b, c, d, e, f) .field = e,
#define PICK_3_15T(field, a, b, c, d, e, f) .field = f,

#define MINORS 3
static const struct layout supplement[MINORS][2] = {
    {{SAME_SINCE_3_13 SUPPLEMENT_FIELDS(PICK_3_13)}, {SAME_SINCE_3_13 SUPPLEMENT_FIELDS(PICK_3_13T)}},
    {{SAME_SINCE_3_13 SUPPLEMENT_FIELDS(PICK_3_14)}, {SAME_SINCE_3_13 SUPPLEMENT_FIELDS(PICK_3_14T)}},
    {{SAME_SINCE_3_13 SUPPLEMENT_FIELDS(PICK_3_15)}, {SAME_SINCE_3_13 SUPPLEMENT_FIELDS(PICK_3_15T)}},
};

/* clang-format on */

/* The table is an array of 64-bit words. These are the same in every version. */
enum { WORD_VERSION = 1, WORD_FREE_THREADED = 2, WORD_FINALIZING = 4 };

static const char cookie[8] = "xdebugpy";

/* Words of the table of 3.13, 3.14 and 3.15. */
static const uint8_t table_words[MINORS] = {73, 95, 111};

/* From the end of the table to _PyRuntime._finalizing: five ints, padded. */
#define TABLE_TO_FINALIZING 24

/* field = word + plus - minus + delta, where word, plus and minus are positions in the table of each minor.
 * Word 0 is the cookie: it stands for "none", and a field without a word is absent. */
struct binding {
    uint16_t field; /* offset of the uint32_t within struct layout */
    uint8_t word[MINORS];
    uint8_t plus[MINORS];
    uint8_t minus[MINORS];
    int8_t delta[MINORS];
    bool free_threaded_only;
};

#define AT(field) offsetof(struct layout, field)
/* clang-format off */
#define EACH(n) {n, n, n}
#define BIND(name, a, b, c, ...) {.field = AT(name), .word = {a, b, c}, ##__VA_ARGS__}

static const struct binding bindings[] = {
    /*                             3.13 3.14 3.15 */
    BIND(runtime.finalizing,          4,   4,   4),
    BIND(runtime.initialized,         4,   4,   4, .delta = EACH(-8)),
    BIND(runtime.interpreters_head,   5,   5,   5),
    BIND(runtime.interpreters_main,   5,   5,   5, .delta = EACH(8)),
    BIND(interp.id,                   7,   7,   7),
    BIND(interp.next,                 8,   8,   8),
    BIND(interp.threads_head,         9,   9,   9),
    BIND(interp.threads_main,         0,  10,  10),
    BIND(interp.gc_collecting,       10,  11,  11, .plus = {72, 82, 95}),
    BIND(interp.gc_frame,             0,   0,  11, .plus = {0, 0, 96}),
    BIND(interp.modules,             11,  12,  12),
    BIND(interp.gil_pointer,         14,  15,  15),
    BIND(interp.code_generation,      0,  20,  20),
    BIND(interp.tlbc_generation,      0,  21,  21, .free_threaded_only = true),
    BIND(gil.enabled,                16,  17,  17, .free_threaded_only = true),
    BIND(gil.locked,                 17,  18,  18, .minus = {15, 16, 16}),
    BIND(gil.last_holder,            18,  19,  19, .minus = {15, 16, 16}),
    BIND(tstate.prev,                20,  23,  23),
    BIND(tstate.next,                21,  24,  24),
    BIND(tstate.interp,              22,  25,  25),
    BIND(tstate.frame,               23,  26,  26),
    BIND(tstate.base_frame,           0,   0,  27),
    BIND(tstate.thread_id,           24,  27,  30),
    BIND(tstate.native_thread_id,    25,  28,  31),
    BIND(tstate.datastack_chunk,     26,  29,  32),
    BIND(tstate.datastack_top,       26,  29,  32, .delta = EACH(8)),
    BIND(tstate.status,              27,  30,  33),
    BIND(tstate.holds_gil,           27,  30,  34, .delta = {0, 4, 0}),
    BIND(tstate.state,               27,  30,  33, .delta = {8, 12, 16}),
    BIND(tstate.gil_requested,        0,   0,  35),
    BIND(frame.previous,             29,  32,  40),
    BIND(frame.code,                 30,  33,  41),
    BIND(frame.instr,                31,  34,  42),
    BIND(frame.locals,               32,  35,  43),
    BIND(frame.size,                 32,  35,  43),
    BIND(frame.owner,                33,  36,  44),
    BIND(frame.stackpointer,          0,  37,  45),
    BIND(frame.tlbc_index,            0,  38,  46, .free_threaded_only = true),
    BIND(code.filename,              35,  40,  48),
    BIND(code.name,                  36,  41,  49),
    BIND(code.qualname,              37,  42,  50),
    BIND(code.linetable,             38,  43,  51),
    BIND(code.firstlineno,           39,  44,  52),
    BIND(code.bytecode,              43,  48,  56),
    BIND(code.size,                  43,  48,  56),
    BIND(code.localsplusnames,       41,  46,  54),
    BIND(code.localspluskinds,       42,  47,  55),
    BIND(code.tlbc,                   0,  49,  57, .free_threaded_only = true),
    BIND(object.type,                45,  51,  59),
    BIND(object.type_name,           47,  53,  61),
    BIND(object.var_size,            65,  75,  87),
    BIND(bytes.size,                 65,  75,  87),
    BIND(bytes.data,                 66,  76,  88),
    BIND(unicode.state,              68,  78,  90),
    BIND(unicode.length,             69,  79,  91),
    BIND(unicode.ascii_data,         70,  80,  92),
    BIND(unicode.data,               67,  77,  89, .delta = EACH(-8)),
    BIND(dict.keys,                  57,  67,  79),
    BIND(dict.values,                58,  68,  80),
    BIND(dict.used,                  57,  67,  79, .delta = EACH(-16)),
    BIND(instance.flags,             49,  55,  63),
    BIND(instance.basicsize,         47,  53,  64, .delta = {8, 8, 0}),
    BIND(instance.dictoffset,        49,  55,  65, .delta = {120, 120, 0}),
    BIND(instance.base,              49,  55,  65, .delta = {88, 88, -32}),
    BIND(module.dict,                44,  50,  58),
    BIND(set.used,                   45,  63,  75, .delta = {16, 0, 0}),
    BIND(set.table,                  45,  64,  76, .delta = {32, 0, 0}),
    BIND(set.mask,                   45,  65,  77, .delta = {24, 0, 0}),
    BIND(tuple.items,                51,  57,  69),
    BIND(list.items,                 54,  60,  72),
    BIND(cell.content,               44,  50,  58),
    BIND(number.real,                60,  70,  82),
    BIND(number.complex,             44,  50,  58),
    BIND(integer.tag,                62,  72,  84),
    BIND(integer.digits,             63,  73,  85),
    BIND(generator.name,              0,  84, 100),
    BIND(generator.iframe,            0,  85, 101),
    BIND(generator.frame_state,       0,  86, 102),
};
/* clang-format on */

/* The furthest that a field may end from the start of its struct, by where the field is in struct layout. The
 * runtime begins with the table, the interpreter holds arrays of many KiB; the rest are our readers' buffers.
 */
static const struct {
    uint16_t until;
    uint32_t limit;
} limits[] = {
    {AT(interp), 64 << 10},         {AT(gil), 1 << 20},           {AT(tstate), 4096},
    {AT(frame), LAYOUT_TSTATE_MAX}, {AT(code), LAYOUT_FRAME_MAX}, {AT(object), LAYOUT_CODE_MAX},
    {sizeof(struct layout), 4096},
};

static uint32_t limit_of(size_t field)
{
    size_t i = 0;
    while (field >= limits[i].until)
        i++;
    return limits[i].limit;
}

static uint64_t word_at(const unsigned char *table, size_t position)
{
    uint64_t word;
    memcpy(&word, table + position * sizeof word, sizeof word);
    return word;
}

/* Adds a word, or nothing for position 0. A word over 2^31 cannot be part of an offset. */
static int add_word(const unsigned char *table, uint8_t position, int sign, int64_t *sum)
{
    if (!position)
        return 0;
    uint64_t word = word_at(table, position);
    if (word > INT32_MAX)
        return -ERANGE;
    *sum += sign * (int64_t)word;
    return 0;
}

static int evaluate(const struct binding *binding, const unsigned char *table, unsigned minor, uint32_t *out)
{
    int64_t sum = binding->delta[minor];
    if (add_word(table, binding->word[minor], 1, &sum) || add_word(table, binding->plus[minor], 1, &sum) ||
        add_word(table, binding->minus[minor], -1, &sum))
        return -ERANGE;
    if (sum < 0 || sum + (int64_t)sizeof(uint64_t) > limit_of(binding->field))
        return -ERANGE;
    *out = (uint32_t)sum;
    return 0;
}

static int bind_fields(const unsigned char *table, unsigned minor, struct layout *out)
{
    for (size_t i = 0; i < ARRAY_LEN(bindings); i++) {
        const struct binding *binding = &bindings[i];
        uint32_t value = ABSENT;
        bool present = binding->word[minor] && (out->free_threaded || !binding->free_threaded_only);
        int error = present ? evaluate(binding, table, minor, &value) : 0;
        if (error)
            return error;
        memcpy((char *)out + binding->field, &value, sizeof value);
    }
    return 0;
}

/* The end of the furthest of n pointers. */
static uint32_t cover(const uint32_t *fields, size_t n)
{
    uint32_t end = 0;
    for (size_t i = 0; i < n; i++)
        if (fields[i] != ABSENT && fields[i] + 8 > end)
            end = fields[i] + 8;
    return end;
}

static void set_sizes(struct layout *l)
{
    const uint32_t interp[] = {l->interp.id,           l->interp.next,          l->interp.threads_head,
                               l->interp.threads_main, l->interp.gc_collecting, l->interp.gc_frame,
                               l->interp.gil_pointer,  l->interp.modules,       l->interp.code_generation};
    const uint32_t tstate[] = {l->tstate.next,          l->tstate.prev,
                               l->tstate.interp,        l->tstate.frame,
                               l->tstate.thread_id,     l->tstate.native_thread_id,
                               l->tstate.status,        l->tstate.datastack_chunk,
                               l->tstate.datastack_top, l->tstate.state,
                               l->tstate.holds_gil,     l->tstate.base_frame,
                               l->tstate.gil_requested};
    l->interp.size = cover(interp, ARRAY_LEN(interp));
    l->tstate.size = cover(tstate, ARRAY_LEN(tstate));
}

/* Only finals and release candidates: tables of earlier pre-releases differ from the final's, and nothing in
 * them tells how. That the table ends where we expect is seen from what follows it. */
static bool known_table(const unsigned char *table, uint32_t version_hex, unsigned minor)
{
    unsigned level = version_hex >> 4 & 0xf;
    if (level != 0xf && level != 0xc)
        return false;
    return word_at(table, WORD_FINALIZING) == table_words[minor] * sizeof(uint64_t) + TABLE_TO_FINALIZING;
}

const struct layout *layout_of(uint32_t version)
{
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (fixed[i].version == version)
            return &fixed[i];
    return NULL;
}

int layout_from_debug_offsets(const void *table, size_t len, struct layout *out, uint32_t *version_hex)
{
    *version_hex = 0;
    if (len < (WORD_FINALIZING + 1) * sizeof(uint64_t) || memcmp(table, cookie, sizeof cookie) != 0)
        return -EINVAL;
    uint64_t version = word_at(table, WORD_VERSION);
    uint64_t free_threaded = word_at(table, WORD_FREE_THREADED);
    if (version > UINT32_MAX || free_threaded > 1)
        return -ERANGE;
    *version_hex = (uint32_t)version;
    uint32_t minor = (uint32_t)(version >> 16) - supplement[0][0].version;
    if (minor >= MINORS || !known_table(table, *version_hex, minor))
        return -EPROTONOSUPPORT;
    if (len < table_words[minor] * sizeof(uint64_t))
        return -EINVAL;
    *out = supplement[minor][free_threaded];
    int error = bind_fields(table, minor, out);
    if (!error)
        set_sizes(out);
    return error;
}

/* Structs of these sizes are absurd: an interpreter has about 350 KiB, a thread state 1 KiB. */
#define ASYNCIO_INTERP_MAX (16u << 20)
#define ASYNCIO_THREAD_MAX (64u << 10)

/* Positions in .AsyncioDebug: three structs, each headed by its size. */
enum { WORD_TASK_SIZE = 0, WORD_INTERP_SIZE = 7, WORD_THREAD_SIZE = 9 };

static const struct {
    uint16_t field; /* offset of the uint32_t within struct layout_asyncio */
    uint8_t word, size_word;
} asyncio_fields[] = {
    {offsetof(struct layout_asyncio, task_name), 1, WORD_TASK_SIZE},
    {offsetof(struct layout_asyncio, task_awaited_by), 2, WORD_TASK_SIZE},
    {offsetof(struct layout_asyncio, task_is_task), 3, WORD_TASK_SIZE},
    {offsetof(struct layout_asyncio, task_awaited_by_is_set), 4, WORD_TASK_SIZE},
    {offsetof(struct layout_asyncio, task_coro), 5, WORD_TASK_SIZE},
    {offsetof(struct layout_asyncio, task_node), 6, WORD_TASK_SIZE},
    {offsetof(struct layout_asyncio, interp_tasks_head), 8, WORD_INTERP_SIZE},
    {offsetof(struct layout_asyncio, thread_running_loop), 10, WORD_THREAD_SIZE},
    {offsetof(struct layout_asyncio, thread_running_task), 11, WORD_THREAD_SIZE},
    {offsetof(struct layout_asyncio, thread_tasks_head), 12, WORD_THREAD_SIZE},
};

int layout_asyncio_from_section(const void *section, size_t len, struct layout_asyncio *out)
{
    if (len != ASYNCIO_OFFSETS_SIZE)
        return -EINVAL;
    if (word_at(section, WORD_TASK_SIZE) > LAYOUT_TASK_MAX ||
        word_at(section, WORD_INTERP_SIZE) > ASYNCIO_INTERP_MAX ||
        word_at(section, WORD_THREAD_SIZE) > ASYNCIO_THREAD_MAX)
        return -ERANGE;
    out->task_size = (uint32_t)word_at(section, WORD_TASK_SIZE);
    for (size_t i = 0; i < ARRAY_LEN(asyncio_fields); i++) {
        uint64_t offset = word_at(section, asyncio_fields[i].word);
        uint32_t value = (uint32_t)offset;
        if (offset >= word_at(section, asyncio_fields[i].size_word))
            return -ERANGE;
        memcpy((char *)out + asyncio_fields[i].field, &value, sizeof value);
    }
    return 0;
}
