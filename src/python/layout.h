/* layout: where each version of CPython keeps what we read, as data.
 *
 * 3.8-3.12 are const tables. 3.13 and later publish _Py_DebugOffsets in the process;
 * layout_from_debug_offsets turns that table into the same struct, so that the rest of src/python knows one
 * shape. Both are verified against the real headers of each minor by tests/layout. Offsets are bytes from the
 * start of the struct named.
 */
#ifndef ZOND_PYTHON_LAYOUT_H
#define ZOND_PYTHON_LAYOUT_H

#include "base/base.h"

/* A field that this version does not have. */
#define ABSENT UINT32_MAX

/* Upper bounds of the `size` members below, in every layout that this module hands out, parsed from a process
 * or not: a reader's buffer of this many bytes is enough. */
#define LAYOUT_TSTATE_MAX 1024
#define LAYOUT_FRAME_MAX 256
#define LAYOUT_CODE_MAX 512

/* How a thread state leads to its innermost frame. */
enum frame_kind {
    FRAME_OBJECT,  /* 3.8-3.10: tstate -> PyFrameObject, linked by f_back */
    FRAME_CFRAME,  /* 3.11-3.12: tstate -> _PyCFrame -> _PyInterpreterFrame */
    FRAME_CURRENT, /* 3.13+: tstate -> _PyInterpreterFrame */
};

/* How a code object maps instructions to lines. */
enum lines_kind {
    LINES_LNOTAB,    /* 3.8-3.9: co_lnotab */
    LINES_LINETABLE, /* 3.10: (delta, line delta) pairs */
    LINES_LOCATIONS, /* 3.11+: location table with columns */
};

/* Where the attributes of an ordinary instance are; see docs/cpython-notes.md. */
enum instance_kind {
    INSTANCE_DICT,   /* 3.8-3.10: a dict at tp_dictoffset */
    INSTANCE_VALUES, /* 3.11: values and dict, two pointers before the object */
    INSTANCE_TAGGED, /* 3.12: one word before the object: the dict, or, when odd, the values less 1 */
    INSTANCE_INLINE, /* 3.13+: a dict pointer before the object; while it is NULL, values inside the object */
};

/* Within _PyStackChunk, a piece of a thread's datastack (3.11+). size and top are size_t: bytes of the chunk
 * with this header; slots used below the chunk's last frame, valid for chunks that are not the newest. */
#define CHUNK_PREVIOUS 0
#define CHUNK_SIZE 8
#define CHUNK_TOP 16
#define CHUNK_DATA 24

/* Bits of tp_flags that say how an instance is laid out. Without MANAGED_DICT the dict is at tp_dictoffset.
 */
#define TYPE_INLINE_VALUES (1u << 2) /* 3.13+ */
#define TYPE_MANAGED_DICT (1u << 4)  /* 3.11+ */

/* Bits of tp_flags that are the same in every version: of heap types, of types that are done, and of those
 * whose instances have the layout of the builtin. */
#define TYPE_HEAP (1u << 9)
#define TYPE_READY (1u << 12)
#define TYPE_INT (1u << 24)
#define TYPE_LIST (1u << 25)
#define TYPE_TUPLE (1u << 26)
#define TYPE_BYTES (1u << 27)
#define TYPE_STR (1u << 28)
#define TYPE_DICT (1u << 29)
#define TYPE_TYPE (1u << 31)

/* Bits of localspluskinds (3.11+): the variable is in a cell. */
#define LOCAL_CELL 0x40
#define LOCAL_FREE 0x80

/* Sign of an integer's tag (3.12+): 0 above zero, 1 zero, 2 below. */
#define INT_SIGN_BITS 3
#define INT_SIGN_MASK 3
#define INT_NEGATIVE 2
#define INT_DIGIT_BITS 30

/* Bits of _PyStackRef (3.14+) below a tagged int. */
#define STACKREF_SHIFT 2

/* Entries of a dict's keys are {hash, key, value} when they are of this kind, else {key, value}. */
#define KEYS_GENERAL 0

/* How f_owner is numbered; 0xff for what a version does not have. */
struct owners {
    uint8_t thread, generator, frame_object;
    uint8_t interpreter; /* 3.14+: the entry frame of a C call into the evaluation loop, to be skipped */
    uint8_t c_stack;     /* 3.12-3.14: a shim frame between C and Python, to be skipped */
};

/* Bits of tstate.status, the same in every version that has it. */
#define TSTATE_INITIALIZED (1u << 0)
#define TSTATE_BOUND (1u << 1)   /* has been given to an OS thread: thread_id is valid */
#define TSTATE_UNBOUND (1u << 2) /* has been taken from it again */
#define TSTATE_ACTIVE (1u << 4)  /* current on its OS thread */

/* Values of tstate.state (3.13+, an int). On builds with a GIL an attached thread holds it. */
enum tstate_state {
    TSTATE_DETACHED = 0,  /* in a blocking call, or waiting for the GIL */
    TSTATE_ATTACHED = 1,  /* may run Python code */
    TSTATE_SUSPENDED = 2, /* stopped by another thread (stop the world) */
};

/* All of a version. Absent fields are ABSENT. Sizes are the bytes that must be read to cover a struct's
 * fields that we use. */
struct layout {
    uint32_t version; /* major << 8 | minor, e.g. 0x030b */
    bool free_threaded;
    enum frame_kind frame_kind;
    enum lines_kind lines_kind;
    enum instance_kind instance_kind;
    struct owners owners;
    struct {
        uint32_t interpreters_head;
        uint32_t interpreters_main;
        uint32_t tstate_current; /* <= 3.11: the thread state that holds the GIL */
        uint32_t gil;            /* <= 3.11: struct _gil_runtime_state inside _PyRuntime */
        uint32_t gc_collecting;  /* 3.8 only (gc state is in the runtime): int */
        uint32_t finalizing;     /* pointer to the thread state that finalises */
        uint32_t initialized;    /* int, set when Py_Initialize is done */
    } runtime;
    struct {
        uint32_t id; /* int64 */
        uint32_t next;
        uint32_t threads_head;
        uint32_t threads_main;    /* 3.14+: the thread that runs __main__, NULL when none does */
        uint32_t gc_collecting;   /* 3.9+: int */
        uint32_t gc_frame;        /* 3.15: the frame that set off the collection */
        uint32_t gil_pointer;     /* 3.12+: -> struct _gil_runtime_state */
        uint32_t modules;         /* sys.modules dict */
        uint32_t code_generation; /* 3.14+: uint64, counts code objects destroyed */
        uint32_t tlbc_generation; /* free-threaded 3.14+: uint32 */
        uint32_t size;            /* covers the fields above but the last */
    } interp;
    struct {
        uint32_t last_holder; /* within struct _gil_runtime_state; still set when the GIL is free */
        uint32_t locked;      /* int: -1 not created, 0 free, 1 held */
        uint32_t enabled;     /* free-threaded builds: int, is the GIL in use? */
        uint32_t size;        /* of the struct: its mutexes and conditions lie within */
    } gil;
    struct {
        uint32_t next;
        uint32_t prev;
        uint32_t interp;
        uint32_t frame;            /* frame object, cframe or current frame, by frame_kind */
        uint32_t thread_id;        /* pthread_t */
        uint32_t native_thread_id; /* 3.11+: kernel tid, in the PID namespace of the process */
        uint32_t datastack_chunk;  /* 3.11+: the newest chunk */
        uint32_t datastack_top;    /* 3.11+: end of what is used of it */
        uint32_t status;           /* 3.12+: uint32 of TSTATE_ bits */
        uint32_t state;            /* 3.13+: int, enum tstate_state */
        uint32_t holds_gil;        /* 3.13+: uint32; it holds the GIL when any bit of holds_gil_mask is set */
        uint32_t holds_gil_mask;   /* 0 where holds_gil is absent */
        uint32_t gil_requested;    /* 3.15: int, not 0 while waiting for the GIL */
        uint32_t base_frame;       /* 3.15: pointer to the outermost, artificial frame of the thread */
        uint32_t size;
    } tstate;
    struct {
        uint32_t current_frame; /* within _PyCFrame, 3.11-3.12 */
    } cframe;
    struct {
        uint32_t previous;       /* f_back or previous */
        uint32_t code;           /* f_code or f_executable */
        uint32_t code_tag_mask;  /* bits to clear from f_executable to get a pointer */
        uint32_t instr;          /* f_lasti (int), prev_instr or instr_ptr */
        uint32_t lasti_unit;     /* bytes per unit of f_lasti; 0: instr is a pointer */
        uint32_t owner;          /* 3.11+: byte */
        uint32_t state;          /* <= 3.10: byte, f_executing or f_state */
        uint32_t state_running;  /* its value while the frame is on a thread's stack */
        uint32_t is_entry;       /* 3.11: byte */
        uint32_t stacktop;       /* 3.11-3.13: int, index into localsplus, -1 while executing */
        uint32_t stackpointer;   /* 3.14+: pointer past the top of the stack, NULL while executing */
        uint32_t locals;         /* localsplus */
        uint32_t local_tag_mask; /* bits to clear from a local variable to get a pointer; all set: an int */
        uint32_t tlbc_index;     /* free-threaded 3.14+: int32 */
        uint32_t size;           /* covers the fields above but locals */
    } frame;
    struct {
        uint32_t filename;
        uint32_t name;
        uint32_t qualname; /* 3.11+ */
        uint32_t firstlineno;
        uint32_t linetable;       /* or co_lnotab */
        uint32_t bytecode;        /* <= 3.10: pointer to bytes · 3.11+: where co_code_adaptive starts */
        uint32_t bytecode_inline; /* 1 when bytecode is part of the object (3.11+) */
        uint32_t tlbc;            /* free-threaded 3.14+: pointer to {ssize_t n; char *bytecode[n]} */
        uint32_t varnames;        /* <= 3.10: names of localsplus, tuples, one after the other */
        uint32_t cellvars;        /* <= 3.10 */
        uint32_t freevars;        /* <= 3.10 */
        uint32_t localsplusnames; /* 3.11+: tuple, names of localsplus */
        uint32_t localspluskinds; /* 3.11+: bytes, a LOCAL_ bit set for each */
        uint32_t size;            /* of the fixed part */
    } code;
    struct {
        uint32_t type;      /* ob_type */
        uint32_t var_size;  /* ob_size */
        uint32_t type_name; /* tp_name */
    } object;
    struct {
        uint32_t size;
        uint32_t data;
    } bytes;
    struct {
        uint32_t length;
        uint32_t state;      /* bit fields: kind, compact, ascii */
        uint32_t ascii_data; /* data of a compact ASCII string */
        uint32_t data;       /* data of a compact string that is not ASCII */
        uint8_t kind_shift;  /* position of `kind` (3 bits) within the 32-bit state word */
        uint8_t ascii_shift;
        uint8_t compact_shift;
    } unicode;
    struct {
        uint32_t keys;
        uint32_t values; /* NULL: values are in the entries · else a split table's values */
        uint32_t used;
    } dict;
    struct {
        uint32_t size;             /* <= 3.10: ssize_t, length of the index */
        uint32_t log2_size;        /* 3.11+: byte, the same as a power of 2 */
        uint32_t log2_index_bytes; /* 3.11+: byte, bytes of the index as a power of 2 */
        uint32_t kind;             /* 3.11+: byte, KEYS_GENERAL or another; ABSENT: as KEYS_GENERAL */
        uint32_t nentries;         /* ssize_t */
        uint32_t indices;          /* the index starts here, the entries follow it */
        uint32_t values_first;     /* where the first value is in a split table's values */
    } keys;
    struct {
        uint32_t flags;         /* within PyTypeObject: unsigned long */
        uint32_t basicsize;     /* within PyTypeObject: ssize_t; INSTANCE_INLINE values start here */
        uint32_t dictoffset;    /* within PyTypeObject: ssize_t */
        uint32_t base;          /* within PyTypeObject: tp_base */
        uint32_t cached_keys;   /* within PyHeapTypeObject: keys of the instances' values */
        uint32_t dict_before;   /* 3.11+: the managed dict pointer is this many bytes before the object */
        uint32_t values_before; /* 3.11: so is the values pointer */
    } instance;
    struct {
        uint32_t dict; /* md_dict */
    } module;
    struct {
        uint32_t used;  /* ssize_t: keys */
        uint32_t table; /* pointer to {key, hash} entries, a NULL key where there is none */
        uint32_t mask;  /* entries less 1 */
    } set;
    struct {
        uint32_t items; /* the first of ob_size pointers */
    } tuple;
    struct {
        uint32_t items; /* pointer to ob_size pointers */
    } list;
    struct {
        uint32_t content; /* ob_ref */
    } cell;
    struct {
        uint32_t real;    /* of a float: double */
        uint32_t complex; /* of a complex: two doubles */
    } number;
    struct {
        uint32_t tag;    /* 3.12+: word, number of digits << 3 | sign; before, ob_size is either */
        uint32_t digits; /* uint32 each, 30 bits, lowest first */
    } integer;
    struct {
        uint32_t name;        /* gi_name */
        uint32_t iframe;      /* 3.11+: the frame lies within the generator or coroutine */
        uint32_t frame_state; /* 3.11+: int8 */
        int8_t awaiting;      /* frame_state of one that waits in `await` or `yield from` */
        uint8_t awaited_slot; /* what it waits for is this many words below the top of the stack */
    } generator;
};

/* The table of 3.8-3.12, or NULL for another version. */
const struct layout *layout_of(uint32_t version);

/* The largest _Py_DebugOffsets known, in bytes: how much to read. */
#define DEBUG_OFFSETS_MAX 1024

/* Parses the first bytes of _PyRuntime of 3.13+. -EINVAL: the cookie is not there, or too few bytes.
 * -EPROTONOSUPPORT: a version or a pre-release whose table we do not know (*version_hex is set). -ERANGE: an
 * offset is absurd. */
int layout_from_debug_offsets(const void *table, size_t len, struct layout *out, uint32_t *version_hex);

/* Where _asyncio of 3.14+ keeps tasks, from its section .AsyncioDebug (in the extension, or in what it is
 * linked into). Offsets as above; task_size is at most LAYOUT_TASK_MAX. See docs/cpython-notes.md for how to
 * walk. */
#define LAYOUT_TASK_MAX 1024
struct layout_asyncio {
    uint32_t task_size;
    uint32_t task_name;              /* str, or int N for "Task-N" */
    uint32_t task_awaited_by;        /* NULL, a task or future, or a set of them */
    uint32_t task_is_task;           /* byte: 0 for a plain future */
    uint32_t task_awaited_by_is_set; /* byte */
    uint32_t task_coro;
    uint32_t task_node;           /* {next, prev}: element of a circular list whose head is no task */
    uint32_t interp_tasks_head;   /* within the interpreter: tasks whose thread has ended */
    uint32_t thread_running_loop; /* within the thread state, and the next two */
    uint32_t thread_running_task;
    uint32_t thread_tasks_head; /* {next, prev} */
};

/* Bytes of the section. */
#define ASYNCIO_OFFSETS_SIZE 104

/* Parses the section. It has neither version nor cookie: -EINVAL if it is not of this size, -ERANGE if an
 * offset is beyond its struct or a struct is absurd. */
int layout_asyncio_from_section(const void *section, size_t len, struct layout_asyncio *out);

/* Does this opcode call something (CALL and its specialised and instrumented forms, CALL_FUNCTION, ...), so
 * that a frame which stands on it is waiting for a function written in C? The bytecode is as it stands in
 * memory, that is, possibly specialised. */
bool opcode_is_call(uint32_t version, uint8_t opcode);

#endif
