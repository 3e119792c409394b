/* Prints every field of a struct layout as lines of "key value", with the keys of dump_headers.c.
 *
 * Usage: dump_layout 3.8 ... 3.12, or dump_layout debug < BYTES, the first bytes of _PyRuntime of 3.13+. A
 * field that is ABSENT is left out. Exits with 1 and "error NAME" on stdout when the bytes are refused.
 */
#include "python/layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_OWNER 0xff

struct field {
    const char *key;
    size_t offset;
};

#define FIELD(name)                                                                                          \
    {                                                                                                        \
#name, offsetof(struct layout, name)                                                                 \
    }

static const struct field words[] = {
    FIELD(runtime.interpreters_head),
    FIELD(runtime.interpreters_main),
    FIELD(runtime.tstate_current),
    FIELD(runtime.gil),
    FIELD(runtime.gc_collecting),
    FIELD(runtime.finalizing),
    FIELD(runtime.initialized),
    FIELD(interp.id),
    FIELD(interp.next),
    FIELD(interp.threads_head),
    FIELD(interp.threads_main),
    FIELD(interp.gc_collecting),
    FIELD(interp.gc_frame),
    FIELD(interp.gil_pointer),
    FIELD(interp.modules),
    FIELD(interp.code_generation),
    FIELD(interp.tlbc_generation),
    FIELD(interp.size),
    FIELD(gil.last_holder),
    FIELD(gil.locked),
    FIELD(gil.enabled),
    FIELD(gil.size),
    FIELD(tstate.next),
    FIELD(tstate.prev),
    FIELD(tstate.interp),
    FIELD(tstate.frame),
    FIELD(tstate.thread_id),
    FIELD(tstate.native_thread_id),
    FIELD(tstate.datastack_chunk),
    FIELD(tstate.datastack_top),
    FIELD(tstate.status),
    FIELD(tstate.state),
    FIELD(tstate.holds_gil),
    FIELD(tstate.holds_gil_mask),
    FIELD(tstate.gil_requested),
    FIELD(tstate.base_frame),
    FIELD(tstate.size),
    FIELD(cframe.current_frame),
    FIELD(frame.previous),
    FIELD(frame.code),
    FIELD(frame.code_tag_mask),
    FIELD(frame.instr),
    FIELD(frame.lasti_unit),
    FIELD(frame.owner),
    FIELD(frame.state),
    FIELD(frame.state_running),
    FIELD(frame.is_entry),
    FIELD(frame.stacktop),
    FIELD(frame.stackpointer),
    FIELD(frame.locals),
    FIELD(frame.local_tag_mask),
    FIELD(frame.tlbc_index),
    FIELD(frame.size),
    FIELD(code.filename),
    FIELD(code.name),
    FIELD(code.qualname),
    FIELD(code.firstlineno),
    FIELD(code.linetable),
    FIELD(code.bytecode),
    FIELD(code.bytecode_inline),
    FIELD(code.tlbc),
    FIELD(code.varnames),
    FIELD(code.cellvars),
    FIELD(code.freevars),
    FIELD(code.localsplusnames),
    FIELD(code.localspluskinds),
    FIELD(code.size),
    FIELD(object.type),
    FIELD(object.var_size),
    FIELD(object.type_name),
    FIELD(bytes.size),
    FIELD(bytes.data),
    FIELD(unicode.length),
    FIELD(unicode.state),
    FIELD(unicode.ascii_data),
    FIELD(unicode.data),
    FIELD(dict.keys),
    FIELD(dict.values),
    FIELD(dict.used),
    FIELD(keys.size),
    FIELD(keys.log2_size),
    FIELD(keys.log2_index_bytes),
    FIELD(keys.kind),
    FIELD(keys.nentries),
    FIELD(keys.indices),
    FIELD(keys.values_first),
    FIELD(instance.flags),
    FIELD(instance.basicsize),
    FIELD(instance.dictoffset),
    FIELD(instance.base),
    FIELD(instance.cached_keys),
    FIELD(instance.dict_before),
    FIELD(instance.values_before),
    FIELD(module.dict),
    FIELD(set.used),
    FIELD(set.table),
    FIELD(set.mask),
    FIELD(tuple.items),
    FIELD(list.items),
    FIELD(cell.content),
    FIELD(number.real),
    FIELD(number.complex),
    FIELD(integer.tag),
    FIELD(integer.digits),
    FIELD(generator.name),
    FIELD(generator.iframe),
    FIELD(generator.frame_state),
};

static const struct field octets[] = {
    FIELD(owners.thread),       FIELD(owners.generator),      FIELD(owners.frame_object),
    FIELD(owners.interpreter),  FIELD(owners.c_stack),        FIELD(unicode.kind_shift),
    FIELD(unicode.ascii_shift), FIELD(unicode.compact_shift),
};

static void print_fields(const struct layout *layout)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        uint32_t value;
        memcpy(&value, (const char *)layout + words[i].offset, sizeof value);
        if (value != ABSENT || strcmp(words[i].key, "tstate.holds_gil_mask") == 0)
            printf("%s %u\n", words[i].key, value);
    }
    for (size_t i = 0; i < ARRAY_LEN(octets); i++) {
        uint8_t value = ((const uint8_t *)layout)[octets[i].offset];
        if (value != NO_OWNER || strncmp(octets[i].key, "owners.", 7) != 0)
            printf("%s %u\n", octets[i].key, value);
    }
}

static void print_layout(const struct layout *layout)
{
    printf("version %u\n", layout->version);
    printf("free_threaded %d\n", layout->free_threaded);
    printf("frame_kind %d\n", layout->frame_kind);
    printf("lines_kind %d\n", layout->lines_kind);
    printf("instance_kind %d\n", layout->instance_kind);
    print_fields(layout);
    if (layout->generator.iframe != ABSENT)
        printf("generator.awaiting %d\ngenerator.awaited_slot %u\n", layout->generator.awaiting,
               layout->generator.awaited_slot);
}

/* The constants of layout.h that are the same in every version that has the field. */
static void print_constants(void)
{
    printf("bit.initialized %u\nbit.bound %u\n", TSTATE_INITIALIZED, TSTATE_BOUND);
    printf("bit.unbound %u\nbit.active %u\n", TSTATE_UNBOUND, TSTATE_ACTIVE);
    printf("state.detached %d\nstate.attached %d\n", TSTATE_DETACHED, TSTATE_ATTACHED);
    printf("state.suspended %d\n", TSTATE_SUSPENDED);
    printf("chunk.previous %d\nchunk.size %d\n", CHUNK_PREVIOUS, CHUNK_SIZE);
    printf("chunk.top %d\nchunk.data %d\n", CHUNK_TOP, CHUNK_DATA);
    printf("kind.general %d\n", KEYS_GENERAL);
    printf("flag.managed_dict %u\nflag.inline_values %u\n", TYPE_MANAGED_DICT, TYPE_INLINE_VALUES);
    printf("flag.heap %u\nflag.ready %u\nflag.int %u\n", TYPE_HEAP, TYPE_READY, TYPE_INT);
    printf("flag.list %u\nflag.tuple %u\nflag.bytes %u\n", TYPE_LIST, TYPE_TUPLE, TYPE_BYTES);
    printf("flag.str %u\nflag.dict %u\nflag.type %u\n", TYPE_STR, TYPE_DICT, TYPE_TYPE);
    printf("kind.cell %d\nkind.free %d\n", LOCAL_CELL, LOCAL_FREE);
    printf("bit.digit %d\nbit.stackref %d\n", INT_DIGIT_BITS, 1 << STACKREF_SHIFT);
    printf("limit.tstate %u\nlimit.frame %u\n", LAYOUT_TSTATE_MAX, LAYOUT_FRAME_MAX);
    printf("limit.code %u\n", LAYOUT_CODE_MAX);
}

static int print_error(int error)
{
    printf("error %s\n", strerrorname_np(-error));
    return EXIT_FAILURE;
}

static int print_asyncio_layout(void)
{
    unsigned char section[ASYNCIO_OFFSETS_SIZE + 1];
    struct layout_asyncio layout;
    int error = layout_asyncio_from_section(section, fread(section, 1, sizeof section, stdin), &layout);
    if (error)
        return print_error(error);
    printf("task_size %u\ntask_name %u\n", layout.task_size, layout.task_name);
    printf("task_awaited_by %u\ntask_awaited_by_is_set %u\n", layout.task_awaited_by,
           layout.task_awaited_by_is_set);
    printf("task_is_task %u\ntask_coro %u\n", layout.task_is_task, layout.task_coro);
    printf("task_node %u\ninterp_tasks_head %u\n", layout.task_node, layout.interp_tasks_head);
    printf("thread_running_loop %u\nthread_running_task %u\n", layout.thread_running_loop,
           layout.thread_running_task);
    printf("thread_tasks_head %u\n", layout.thread_tasks_head);
    return EXIT_SUCCESS;
}

static int print_debug_layout(void)
{
    unsigned char table[DEBUG_OFFSETS_MAX];
    size_t len = fread(table, 1, sizeof table, stdin);
    struct layout layout;
    uint32_t version_hex;
    int error = layout_from_debug_offsets(table, len, &layout, &version_hex);
    printf("version_hex %u\n", version_hex);
    if (error)
        return print_error(error);
    print_layout(&layout);
    return EXIT_SUCCESS;
}

static int print_fixed_layout(const char *version)
{
    unsigned minor;
    const struct layout *layout = NULL;
    if (sscanf(version, "3.%u", &minor) == 1 && minor < 256)
        layout = layout_of(3u << 8 | minor);
    if (!layout)
        return print_error(-ENOENT);
    print_layout(layout);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return EXIT_FAILURE;
    if (strcmp(argv[1], "asyncio") == 0)
        return print_asyncio_layout();
    print_constants();
    return strcmp(argv[1], "debug") == 0 ? print_debug_layout() : print_fixed_layout(argv[1]);
}
