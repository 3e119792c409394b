/* Prints every field of struct layout as the headers of one CPython have it, as lines of "key value".
 *
 * Compiled once for each interpreter, against its own headers: offsetof and sizeof are the compiler's, and
 * the places of bit fields are found by setting them. A key that the version lacks is left out. tests/layout/
 * test_layout.py compares the lines with those of dump_layout.c, which prints what src/python/layout.c says.
 */
#define Py_BUILD_CORE 1
#include <Python.h>

#include <frameobject.h>
#include <stddef.h>
#include <stdio.h>

#if PY_VERSION_HEX >= 0x030b0000
#include <internal/pycore_code.h>
#include <internal/pycore_dict.h>
#include <internal/pycore_frame.h>
#include <internal/pycore_object.h>
#endif
#include <internal/pycore_pystate.h>
#if PY_VERSION_HEX >= 0x03090000
#include <internal/pycore_interp.h>
#include <internal/pycore_runtime.h>
#endif
#if PY_VERSION_HEX >= 0x030a0000
#include <internal/pycore_moduleobject.h>
#endif
#if PY_VERSION_HEX >= 0x030e0000
#include <internal/pycore_debug_offsets.h>
#include <internal/pycore_genobject.h>
#include <internal/pycore_interpframe.h>
#include <internal/pycore_stackref.h>
#endif

#if PY_VERSION_HEX < 0x030a0000
/* These two are private to Objects/ until 3.10 and 3.11: copied from Objects/dict-common.h of 3.8 and 3.9,
 * and from Objects/moduleobject.c. test_process.py reads real dicts and modules through the same offsets. */
typedef struct {
    PyObject_HEAD PyObject *md_dict;
} PyModuleObject;
#endif
#if PY_VERSION_HEX < 0x030b0000
struct _dictkeysobject {
    Py_ssize_t dk_refcnt;
    Py_ssize_t dk_size;
    void *dk_lookup;
    Py_ssize_t dk_usable;
    Py_ssize_t dk_nentries;
    char dk_indices[];
};
#endif

static void print_key(const char *key, size_t value)
{
    printf("%s %zu\n", key, value);
}

/* The lowest bit set within a 32-bit word. */
static unsigned lowest_bit(const void *word)
{
    unsigned bits;
    memcpy(&bits, word, sizeof bits);
    return (unsigned)__builtin_ctz(bits);
}

#define PRINT(key, type, member) print_key(key, offsetof(type, member))
#define BIT(type, container, member)                                                                         \
    __extension__({                                                                                          \
        type object;                                                                                         \
        memset(&object, 0, sizeof object);                                                                   \
        object.container.member = ~0u;                                                                       \
        lowest_bit(&object.container);                                                                       \
    })

static void print_runtime(void)
{
    PRINT("runtime.interpreters_head", _PyRuntimeState, interpreters.head);
    PRINT("runtime.interpreters_main", _PyRuntimeState, interpreters.main);
    PRINT("runtime.initialized", _PyRuntimeState, initialized);
#if PY_VERSION_HEX < 0x03090000
    PRINT("runtime.finalizing", _PyRuntimeState, finalizing);
    PRINT("runtime.gc_collecting", _PyRuntimeState, gc.collecting);
#else
    PRINT("runtime.finalizing", _PyRuntimeState, _finalizing);
#endif
#if PY_VERSION_HEX < 0x030c0000
    PRINT("runtime.tstate_current", _PyRuntimeState, gilstate.tstate_current);
    PRINT("runtime.gil", _PyRuntimeState, ceval.gil);
#endif
}

static void print_interpreter(void)
{
    PRINT("interp.id", PyInterpreterState, id);
    PRINT("interp.next", PyInterpreterState, next);
#if PY_VERSION_HEX >= 0x030b0000
    PRINT("interp.threads_head", PyInterpreterState, threads.head);
#else
    PRINT("interp.threads_head", PyInterpreterState, tstate_head);
#endif
#if PY_VERSION_HEX >= 0x03090000
    PRINT("interp.gc_collecting", PyInterpreterState, gc.collecting);
#endif
#if PY_VERSION_HEX >= 0x030c0000
    PRINT("interp.gil_pointer", PyInterpreterState, ceval.gil);
    PRINT("interp.modules", PyInterpreterState, imports.modules);
#else
    PRINT("interp.modules", PyInterpreterState, modules);
#endif
#if PY_VERSION_HEX >= 0x030e0000
    PRINT("interp.threads_main", PyInterpreterState, threads.main);
    PRINT("interp.code_generation", PyInterpreterState, _code_object_generation);
#ifdef Py_GIL_DISABLED
    PRINT("interp.tlbc_generation", PyInterpreterState, tlbc_indices.tlbc_generation);
#endif
#endif
#if PY_VERSION_HEX >= 0x030f0000
    PRINT("interp.gc_frame", PyInterpreterState, gc.frame);
#endif
}

static void print_gil(void)
{
    PRINT("gil.last_holder", struct _gil_runtime_state, last_holder);
    PRINT("gil.locked", struct _gil_runtime_state, locked);
#ifdef Py_GIL_DISABLED
    PRINT("gil.enabled", struct _gil_runtime_state, enabled);
#endif
    print_key("gil.size", sizeof(struct _gil_runtime_state));
}

static void print_thread_status(void)
{
#if PY_VERSION_HEX >= 0x030c0000
    PRINT("tstate.status", PyThreadState, _status);
    print_key("bit.initialized", 1u << BIT(PyThreadState, _status, initialized));
    print_key("bit.bound", 1u << BIT(PyThreadState, _status, bound));
    print_key("bit.unbound", 1u << BIT(PyThreadState, _status, unbound));
    print_key("bit.active", 1u << BIT(PyThreadState, _status, active));
#endif
#if PY_VERSION_HEX >= 0x030d0000
    PRINT("tstate.state", PyThreadState, state);
    print_key("state.detached", _Py_THREAD_DETACHED);
    print_key("state.attached", _Py_THREAD_ATTACHED);
    print_key("state.suspended", _Py_THREAD_SUSPENDED);
#endif
#if PY_VERSION_HEX >= 0x030e0000
    PRINT("tstate.holds_gil", PyThreadState, holds_gil);
    print_key("tstate.holds_gil_mask", UINT32_MAX);
#elif PY_VERSION_HEX >= 0x030d0000
    PRINT("tstate.holds_gil", PyThreadState, _status);
    print_key("tstate.holds_gil_mask", 1u << BIT(PyThreadState, _status, holds_gil));
#else
    print_key("tstate.holds_gil_mask", 0);
#endif
}

static void print_thread(void)
{
    PRINT("tstate.next", PyThreadState, next);
    PRINT("tstate.prev", PyThreadState, prev);
    PRINT("tstate.interp", PyThreadState, interp);
    PRINT("tstate.thread_id", PyThreadState, thread_id);
#if PY_VERSION_HEX >= 0x030d0000
    PRINT("tstate.frame", PyThreadState, current_frame);
#elif PY_VERSION_HEX >= 0x030b0000
    PRINT("tstate.frame", PyThreadState, cframe);
    PRINT("cframe.current_frame", _PyCFrame, current_frame);
#else
    PRINT("tstate.frame", PyThreadState, frame);
#endif
#if PY_VERSION_HEX >= 0x030b0000
    PRINT("tstate.native_thread_id", PyThreadState, native_thread_id);
    PRINT("tstate.datastack_chunk", PyThreadState, datastack_chunk);
    PRINT("tstate.datastack_top", PyThreadState, datastack_top);
    PRINT("chunk.previous", _PyStackChunk, previous);
    PRINT("chunk.size", _PyStackChunk, size);
    PRINT("chunk.top", _PyStackChunk, top);
    PRINT("chunk.data", _PyStackChunk, data);
#endif
#if PY_VERSION_HEX >= 0x030f0000
    PRINT("tstate.gil_requested", PyThreadState, gil_requested);
    PRINT("tstate.base_frame", PyThreadState, base_frame);
#endif
    print_thread_status();
}

#if PY_VERSION_HEX >= 0x030b0000
static void print_owners(void)
{
    print_key("owners.thread", FRAME_OWNED_BY_THREAD);
    print_key("owners.generator", FRAME_OWNED_BY_GENERATOR);
    print_key("owners.frame_object", FRAME_OWNED_BY_FRAME_OBJECT);
#if PY_VERSION_HEX >= 0x030e0000
    print_key("owners.interpreter", FRAME_OWNED_BY_INTERPRETER);
#endif
#if PY_VERSION_HEX >= 0x030c0000 && PY_VERSION_HEX < 0x030f0000
    print_key("owners.c_stack", FRAME_OWNED_BY_CSTACK);
#endif
}

static void print_frame(void)
{
    PRINT("frame.previous", _PyInterpreterFrame, previous);
#if PY_VERSION_HEX >= 0x030d0000
    PRINT("frame.code", _PyInterpreterFrame, f_executable);
    PRINT("frame.instr", _PyInterpreterFrame, instr_ptr);
#else
    PRINT("frame.code", _PyInterpreterFrame, f_code);
    PRINT("frame.instr", _PyInterpreterFrame, prev_instr);
#endif
    PRINT("frame.owner", _PyInterpreterFrame, owner);
#if PY_VERSION_HEX >= 0x030e0000
    PRINT("frame.stackpointer", _PyInterpreterFrame, stackpointer);
    print_key("frame.code_tag_mask", Py_TAG_BITS);
    print_key("frame.local_tag_mask", Py_TAG_BITS | Py_INT_TAG);
    print_key("bit.stackref", PyStackRef_TagInt(1).bits - PyStackRef_TagInt(0).bits);
#else
    print_key("frame.local_tag_mask", 0);
    PRINT("frame.stacktop", _PyInterpreterFrame, stacktop);
    print_key("frame.code_tag_mask", 0);
#endif
#if PY_VERSION_HEX < 0x030c0000
    PRINT("frame.is_entry", _PyInterpreterFrame, is_entry);
#endif
#if PY_VERSION_HEX >= 0x030e0000 && defined(Py_GIL_DISABLED)
    PRINT("frame.tlbc_index", _PyInterpreterFrame, tlbc_index);
#endif
    PRINT("frame.locals", _PyInterpreterFrame, localsplus);
    print_key("frame.lasti_unit", 0);
    print_owners();
}
#else
static void print_frame(void)
{
    PRINT("frame.previous", PyFrameObject, f_back);
    PRINT("frame.code", PyFrameObject, f_code);
    PRINT("frame.instr", PyFrameObject, f_lasti);
    PRINT("frame.locals", PyFrameObject, f_localsplus);
    print_key("frame.local_tag_mask", 0);
    print_key("frame.code_tag_mask", 0);
    print_key("frame.lasti_unit", PY_VERSION_HEX >= 0x030a0000 ? 2 : 1);
#if PY_VERSION_HEX >= 0x030a0000
    PRINT("frame.state", PyFrameObject, f_state);
    print_key("frame.state_running", FRAME_EXECUTING);
#else
    PRINT("frame.state", PyFrameObject, f_executing);
    print_key("frame.state_running", 1);
#endif
}
#endif

static void print_code(void)
{
    PRINT("code.filename", PyCodeObject, co_filename);
    PRINT("code.name", PyCodeObject, co_name);
    PRINT("code.firstlineno", PyCodeObject, co_firstlineno);
#if PY_VERSION_HEX >= 0x030a0000
    PRINT("code.linetable", PyCodeObject, co_linetable);
#else
    PRINT("code.linetable", PyCodeObject, co_lnotab);
#endif
#if PY_VERSION_HEX >= 0x030b0000
    PRINT("code.qualname", PyCodeObject, co_qualname);
    PRINT("code.bytecode", PyCodeObject, co_code_adaptive);
    PRINT("code.localsplusnames", PyCodeObject, co_localsplusnames);
    PRINT("code.localspluskinds", PyCodeObject, co_localspluskinds);
    print_key("kind.cell", CO_FAST_CELL);
    print_key("kind.free", CO_FAST_FREE);
#else
    PRINT("code.bytecode", PyCodeObject, co_code);
    PRINT("code.varnames", PyCodeObject, co_varnames);
    PRINT("code.cellvars", PyCodeObject, co_cellvars);
    PRINT("code.freevars", PyCodeObject, co_freevars);
#endif
    print_key("code.bytecode_inline", PY_VERSION_HEX >= 0x030b0000);
#if PY_VERSION_HEX >= 0x030e0000 && defined(Py_GIL_DISABLED)
    PRINT("code.tlbc", PyCodeObject, co_tlbc);
#endif
}

static void print_strings(void)
{
    PRINT("bytes.size", PyBytesObject, ob_base.ob_size);
    PRINT("bytes.data", PyBytesObject, ob_sval);
    PRINT("unicode.length", PyASCIIObject, length);
    PRINT("unicode.state", PyASCIIObject, state);
    print_key("unicode.ascii_data", sizeof(PyASCIIObject));
    print_key("unicode.data", sizeof(PyCompactUnicodeObject));
    print_key("unicode.kind_shift", BIT(PyASCIIObject, state, kind));
    print_key("unicode.ascii_shift", BIT(PyASCIIObject, state, ascii));
    print_key("unicode.compact_shift", BIT(PyASCIIObject, state, compact));
}

static void print_dicts(void)
{
    PRINT("dict.keys", PyDictObject, ma_keys);
    PRINT("dict.values", PyDictObject, ma_values);
    PRINT("dict.used", PyDictObject, ma_used);
    PRINT("keys.nentries", struct _dictkeysobject, dk_nentries);
    PRINT("keys.indices", struct _dictkeysobject, dk_indices);
#if PY_VERSION_HEX >= 0x030b0000
    PRINT("keys.log2_size", struct _dictkeysobject, dk_log2_size);
    PRINT("keys.log2_index_bytes", struct _dictkeysobject, dk_log2_index_bytes);
    PRINT("keys.kind", struct _dictkeysobject, dk_kind);
    PRINT("keys.values_first", struct _dictvalues, values);
    print_key("kind.general", DICT_KEYS_GENERAL);
#else
    PRINT("keys.size", struct _dictkeysobject, dk_size);
    print_key("keys.values_first", 0);
#endif
}

static void print_objects(void)
{
    PRINT("object.type", PyObject, ob_type);
    PRINT("object.var_size", PyVarObject, ob_size);
    PRINT("object.type_name", PyTypeObject, tp_name);
    PRINT("instance.flags", PyTypeObject, tp_flags);
    PRINT("instance.basicsize", PyTypeObject, tp_basicsize);
    PRINT("instance.dictoffset", PyTypeObject, tp_dictoffset);
    PRINT("instance.base", PyTypeObject, tp_base);
    PRINT("instance.cached_keys", PyHeapTypeObject, ht_cached_keys);
#ifdef Py_TPFLAGS_MANAGED_DICT
    print_key("flag.managed_dict", Py_TPFLAGS_MANAGED_DICT);
#endif
#ifdef Py_TPFLAGS_INLINE_VALUES
    print_key("flag.inline_values", Py_TPFLAGS_INLINE_VALUES);
#endif
    PRINT("module.dict", PyModuleObject, md_dict);
    print_key("bit.digit", PyLong_SHIFT);
#if PY_VERSION_HEX >= 0x030c0000
    PRINT("integer.tag", PyLongObject, long_value.lv_tag);
    PRINT("integer.digits", PyLongObject, long_value.ob_digit);
#else
    PRINT("integer.digits", PyLongObject, ob_digit);
#endif
    PRINT("set.used", PySetObject, used);
    PRINT("set.table", PySetObject, table);
    PRINT("set.mask", PySetObject, mask);
    PRINT("tuple.items", PyTupleObject, ob_item);
    PRINT("list.items", PyListObject, ob_item);
    PRINT("cell.content", PyCellObject, ob_ref);
    PRINT("number.real", PyFloatObject, ob_fval);
    PRINT("number.complex", PyComplexObject, cval);
}

static void print_type_flags(void)
{
    print_key("flag.heap", Py_TPFLAGS_HEAPTYPE);
    print_key("flag.ready", Py_TPFLAGS_READY);
    print_key("flag.int", Py_TPFLAGS_LONG_SUBCLASS);
    print_key("flag.list", Py_TPFLAGS_LIST_SUBCLASS);
    print_key("flag.tuple", Py_TPFLAGS_TUPLE_SUBCLASS);
    print_key("flag.bytes", Py_TPFLAGS_BYTES_SUBCLASS);
    print_key("flag.str", Py_TPFLAGS_UNICODE_SUBCLASS);
    print_key("flag.dict", Py_TPFLAGS_DICT_SUBCLASS);
    print_key("flag.type", Py_TPFLAGS_TYPE_SUBCLASS);
}

#if PY_VERSION_HEX >= 0x030b0000
/* Where the functions of the headers look for an instance's dict and values, seen from an object that is
 * never read (build with NDEBUG). */
static void print_instance(void)
{
    static PyObject *words[16];
    PyObject *object = (PyObject *)&words[8];
#if PY_VERSION_HEX >= 0x030d0000
    const void *dict = _PyObject_ManagedDictPointer(object);
#elif PY_VERSION_HEX >= 0x030c0000
    const void *dict = _PyObject_DictOrValuesPointer(object);
#else
    const void *dict = _PyObject_ManagedDictPointer(object);
    print_key("instance.values_before", (char *)object - (char *)_PyObject_ValuesPointer(object));
#endif
    print_key("instance.dict_before", (char *)object - (const char *)dict);
}
#endif

#if PY_VERSION_HEX >= 0x030e0000
static void print_generator(void)
{
    PRINT("generator.name", PyGenObject, gi_name);
    PRINT("generator.iframe", PyGenObject, gi_iframe);
    PRINT("generator.frame_state", PyGenObject, gi_frame_state);
    printf("generator.awaiting %d\n", FRAME_SUSPENDED_YIELD_FROM);
}

static const _Py_DebugOffsets debug_offsets = _Py_DebugOffsets_INIT("xdebugpy");

/* The table as an interpreter of these headers would publish it, in hexadecimal. */
static void print_debug_offsets(void)
{
    printf("debug_offsets ");
    for (size_t i = 0; i < sizeof debug_offsets; i++)
        printf("%02x", ((const unsigned char *)&debug_offsets)[i]);
    printf("\n");
}
#endif

int main(void)
{
    print_key("version", PY_VERSION_HEX >> 16);
    print_key("version_hex", PY_VERSION_HEX);
#ifdef Py_GIL_DISABLED
    print_key("free_threaded", 1);
#else
    print_key("free_threaded", 0);
#endif
    print_runtime();
    print_interpreter();
    print_gil();
    print_thread();
    print_frame();
    print_code();
    print_strings();
    print_dicts();
    print_objects();
    print_type_flags();
#if PY_VERSION_HEX >= 0x030b0000
    print_instance();
#endif
#if PY_VERSION_HEX >= 0x030e0000
    print_generator();
    print_debug_offsets();
#endif
    return 0;
}
