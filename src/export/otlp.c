/* otlp: the profiles signal of OpenTelemetry (v1development), one ProfilesData message: a resource and a
 * profile for each process; a sample is a distinct stack of one thread, with the nanoseconds of the metric as
 * its value.
 *
 * Everything is referred to by its index in the tables of one dictionary, whose first entries are the zero
 * values. A location is a spot + 1. The length of the dictionary stands before it, and its stacks can be more
 * than memory should hold: it is made twice, first only to be measured.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/formats.h"
#include "export/label.h"
#include "export/sums.h"
#include "export/wire.h"

#define PIECE (1u << 16) /* what is gathered before it is written */

/* Numbers of fields. */
enum { DATA_RESOURCE_PROFILES = 1, DATA_DICTIONARY = 2 };
enum { DICTIONARY_MAPPING = 1, DICTIONARY_LOCATION = 2, DICTIONARY_FUNCTION = 3, DICTIONARY_LINK = 4 };
enum { DICTIONARY_STRING = 5, DICTIONARY_ATTRIBUTE = 6, DICTIONARY_STACK = 7 };
enum { RESOURCE_PROFILES_RESOURCE = 1, RESOURCE_PROFILES_SCOPE = 2, RESOURCE_ATTRIBUTE = 1 };
enum { SCOPE_PROFILES_SCOPE = 1, SCOPE_PROFILES_PROFILE = 2, SCOPE_NAME = 1, SCOPE_VERSION = 2 };
enum { PROFILE_TYPE = 1, PROFILE_SAMPLE = 2, PROFILE_TIME = 3, PROFILE_DURATION = 4 };
enum { PROFILE_PERIOD_TYPE = 5, PROFILE_PERIOD = 6, TYPE_TYPE = 1, TYPE_UNIT = 2 };
enum { SAMPLE_STACK = 1, SAMPLE_ATTRIBUTES = 2, SAMPLE_VALUES = 4, STACK_LOCATIONS = 1 };
enum { LOCATION_LINE = 3, LOCATION_ATTRIBUTES = 4, LINE_FUNCTION = 1, LINE_LINE = 2 };
enum { FUNCTION_NAME = 1, FUNCTION_SYSTEM_NAME = 2, FUNCTION_FILE = 3, FUNCTION_LINE = 4 };
enum { ATTRIBUTE_KEY = 1, ATTRIBUTE_VALUE = 2 };
enum { KEY_VALUE_KEY = 1, KEY_VALUE_VALUE = 2 };
enum { VALUE_STRING = 1, VALUE_INT = 3, VALUE_ARRAY = 5, ARRAY_VALUE = 1 };

/* An entry of the table of attributes: a number, or a string of the table of strings. */
struct attribute {
    uint32_t key;
    bool is_string;
    uint32_t value;
};

struct function {
    uint32_t name, file; /* strings */
    uint32_t line;
};

/* function_of: by spot; stack_of: by node, 0 when no sample has it. attributes[0] and functions[0] are the
 * zero values. Of the scratch bufs, a larger message is made in one further to the left. */
struct otlp {
    struct paths paths;
    struct strtab strings;
    struct map by_code, by_number, by_text;
    struct function *functions;
    uint32_t *function_of, *stack_of;
    struct attribute *attributes;
    uint32_t function_count, stack_count, attribute_count;
    uint32_t frame_type; /* the attribute of frames of Python */
    struct sums sums;
    struct buf resource, profile, message, inner, value, text;
    uint32_t *stack;
    uint32_t stack_cap;
    int error;
};

/* Where the dictionary goes. to NULL: it is only measured. */
struct sink {
    FILE *to;
    uint64_t len;
    struct buf rows;
};

static void note(struct otlp *g, int error)
{
    if (error && !g->error)
        g->error = error;
}

static uint32_t string_of(struct otlp *g, const char *s, size_t len)
{
    uint32_t id = 0;
    note(g, label_intern(&g->strings, &g->text, s, len, &id));
    return id;
}

static uint32_t word(struct otlp *g, const char *s)
{
    return string_of(g, s, strlen(s));
}

/* The index of an attribute, made if it is new. There is room for two a thread, and one. */
static uint32_t attribute_of(struct otlp *g, const char *key, bool is_string, uint32_t value)
{
    struct map *index = is_string ? &g->by_text : &g->by_number;
    struct attribute a = {word(g, key), is_string, value};
    uint64_t pair = (uint64_t)a.key << 32 | value;
    uint32_t found = map_get(index, pair);
    if (found != MAP_NONE)
        return found;
    g->attributes[g->attribute_count] = a;
    note(g, map_put(index, pair, g->attribute_count));
    return g->attribute_count++;
}

static int allocate(struct otlp *g)
{
    size_t spots = (size_t)g->paths.spot_count + 1;
    g->functions = calloc(spots, sizeof(*g->functions));
    g->function_of = calloc(spots, sizeof(*g->function_of));
    g->stack_of = calloc(g->paths.count, sizeof(*g->stack_of));
    g->attributes = calloc(2 * (size_t)g->paths.thread_count + 2, sizeof(*g->attributes));
    g->function_count = g->attribute_count = 1;
    bool all = g->functions && g->function_of && g->stack_of && g->attributes;
    return all ? sums_init(&g->sums, &g->paths) : -ENOMEM;
}

static void find_functions(struct otlp *g)
{
    for (uint32_t i = 0; i < g->paths.spot_count && !g->error; i++) {
        uint32_t code = g->paths.spots[i].code;
        struct label l;
        g->function_of[i] = map_get(&g->by_code, code);
        if (g->function_of[i] != MAP_NONE)
            continue;
        g->function_of[i] = g->function_count++;
        label_of_spot(&g->paths, i, &l);
        struct function *f = &g->functions[g->function_of[i]];
        f->name = string_of(g, l.name, l.name_len);
        f->file = string_of(g, l.file, l.file_len);
        f->line = code & PATHS_PROCESS ? 0 : rec_reader_code(g->paths.reader, code).first_line;
        note(g, map_put(&g->by_code, code, g->function_of[i]));
    }
}

static void find_stacks(struct otlp *g)
{
    for (uint32_t i = 1; i < g->paths.count; i++) {
        if (g->paths.nodes[i].weight)
            g->stack_of[i] = ++g->stack_count;
    }
}

/* Ends an attribute of a resource: its AnyValue is in `value`. */
static void put_resource_attribute(struct otlp *g, const char *key)
{
    buf_clear(&g->inner);
    wire_string(&g->inner, KEY_VALUE_KEY, key);
    wire_message(&g->inner, KEY_VALUE_VALUE, &g->value);
    wire_message(&g->message, RESOURCE_ATTRIBUTE, &g->inner);
    buf_clear(&g->value);
}

static void put_text(struct otlp *g, struct buf *to, uint32_t field, const char *s, size_t len)
{
    buf_clear(&g->text);
    label_clean(&g->text, s, len);
    wire_message(to, field, &g->text);
}

static void put_arguments(struct otlp *g, const char *command, size_t len)
{
    struct buf array, one;
    buf_init(&array, UINT32_MAX);
    buf_init(&one, UINT32_MAX);
    for (size_t at = 0; at < len; at += strnlen(command + at, len - at) + 1) {
        buf_clear(&one);
        put_text(g, &one, VALUE_STRING, command + at, strnlen(command + at, len - at));
        wire_message(&array, ARRAY_VALUE, &one);
    }
    wire_message(&g->value, VALUE_ARRAY, &array);
    buf_release(&array);
    buf_release(&one);
}

/* Of the semantic conventions for resources, what the recording knows. */
static void put_resource(struct otlp *g, uint32_t index)
{
    const struct rec_reader *r = g->paths.reader;
    struct rec_process p = rec_reader_process(r, index);
    const char *host = rec_reader_header(r)->host;
    size_t len;
    const char *python = rec_reader_string(r, p.python, &len);
    buf_clear(&g->message);
    buf_clear(&g->value);
    wire_uint(&g->value, VALUE_INT, p.pid);
    put_resource_attribute(g, "process.pid");
    if (len) {
        put_text(g, &g->value, VALUE_STRING, python, len);
        put_resource_attribute(g, "process.runtime.version");
        wire_string(&g->value, VALUE_STRING, "cpython");
        put_resource_attribute(g, "process.runtime.name");
    }
    const char *command = rec_reader_string(r, p.command, &len);
    put_arguments(g, command, len);
    put_resource_attribute(g, "process.command_args");
    put_text(g, &g->value, VALUE_STRING, host, strlen(host));
    put_resource_attribute(g, "host.name");
    wire_message(&g->resource, RESOURCE_PROFILES_RESOURCE, &g->message);
}

static void put_type(struct otlp *g, uint32_t field, const char *type)
{
    buf_clear(&g->inner);
    wire_uint(&g->inner, TYPE_TYPE, word(g, type));
    wire_uint(&g->inner, TYPE_UNIT, word(g, "nanoseconds"));
    wire_message(&g->profile, field, &g->inner);
}

static void put_profile_head(struct otlp *g)
{
    const struct rec_header *h = rec_reader_header(g->paths.reader);
    const struct rec_end *end = rec_reader_end(g->paths.reader);
    buf_clear(&g->profile);
    put_type(g, PROFILE_TYPE, label_of_metric(g->paths.options->metric));
    wire_fixed64(&g->profile, PROFILE_TIME, h->started_wall_ns);
    if (end)
        wire_uint(&g->profile, PROFILE_DURATION, end->ended_ns - h->started_ns);
    put_type(g, PROFILE_PERIOD_TYPE, "wall");
    wire_uint(&g->profile, PROFILE_PERIOD, h->period_ns);
}

static void put_samples(struct otlp *g, uint32_t thread)
{
    struct thread_label t = label_of_thread(&g->paths, thread);
    sums_of_thread(&g->sums, &g->paths, thread);
    if (!g->sums.count)
        return;
    uint32_t name = attribute_of(g, "thread.name", true, string_of(g, t.name, t.name_len));
    uint32_t id = attribute_of(g, "thread.id", false, t.tid);
    for (uint32_t i = 0; i < g->sums.count; i++) {
        uint32_t node = g->sums.touched[i];
        buf_clear(&g->message);
        wire_uint(&g->message, SAMPLE_STACK, g->stack_of[node]);
        buf_clear(&g->inner);
        buf_put_varint(&g->inner, name);
        buf_put_varint(&g->inner, id);
        wire_message(&g->message, SAMPLE_ATTRIBUTES, &g->inner);
        buf_clear(&g->inner);
        buf_put_varint(&g->inner, g->sums.of_path[node].weight);
        wire_message(&g->message, SAMPLE_VALUES, &g->inner);
        wire_message(&g->profile, PROFILE_SAMPLE, &g->message);
    }
}

/* Puts what `profile` holds into its scope, and that into `resource`. */
static void put_scope(struct otlp *g)
{
    buf_clear(&g->inner);
    wire_string(&g->inner, SCOPE_NAME, "zond");
    wire_string(&g->inner, SCOPE_VERSION, ZOND_VERSION);
    buf_clear(&g->message);
    wire_message(&g->message, SCOPE_PROFILES_SCOPE, &g->inner);
    wire_message(&g->message, SCOPE_PROFILES_PROFILE, &g->profile);
    wire_message(&g->resource, RESOURCE_PROFILES_SCOPE, &g->message);
}

/* The threads of one process, and whether any of them has a sample. */
static bool put_process(struct otlp *g, uint32_t process)
{
    bool any = false;
    buf_clear(&g->resource);
    put_resource(g, process);
    put_profile_head(g);
    for (uint32_t i = 0; i < g->paths.thread_count; i++) {
        if (!g->paths.threads[i].weight || rec_reader_thread(g->paths.reader, i).process != process)
            continue;
        put_samples(g, i);
        any = true;
    }
    put_scope(g);
    note(g, g->resource.error);
    return any;
}

static void write_buf(FILE *to, const struct buf *b)
{
    fwrite(b->data, 1, b->len, to);
}

static void put_resources(struct otlp *g, FILE *to)
{
    struct buf head;
    buf_init(&head, 32);
    for (uint32_t i = 0; i < rec_reader_process_count(g->paths.reader) && !g->error; i++) {
        if (!put_process(g, i))
            continue;
        buf_clear(&head);
        wire_head(&head, DATA_RESOURCE_PROFILES, g->resource.len);
        write_buf(to, &head);
        write_buf(to, &g->resource);
    }
    buf_release(&head);
}

static void drain(struct sink *s, size_t beyond)
{
    if (s->rows.len < beyond)
        return;
    s->len += s->rows.len;
    if (s->to)
        write_buf(s->to, &s->rows);
    buf_clear(&s->rows);
}

/* Ends a row of a table: what is in `message`. */
static void put_row(struct otlp *g, struct sink *s, uint32_t field)
{
    wire_message(&s->rows, field, &g->message);
    buf_clear(&g->message);
    note(g, s->rows.error);
    drain(s, PIECE);
}

static void put_location(struct otlp *g, uint32_t spot)
{
    buf_clear(&g->inner);
    wire_uint(&g->inner, LINE_FUNCTION, g->function_of[spot]);
    wire_uint(&g->inner, LINE_LINE, g->paths.spots[spot].line);
    wire_message(&g->message, LOCATION_LINE, &g->inner);
    if (g->paths.spots[spot].code & PATHS_PROCESS)
        return;
    buf_clear(&g->inner);
    buf_put_varint(&g->inner, g->frame_type);
    wire_message(&g->message, LOCATION_ATTRIBUTES, &g->inner);
}

static void put_function(struct otlp *g, const struct function *f)
{
    wire_uint(&g->message, FUNCTION_NAME, f->name);
    wire_uint(&g->message, FUNCTION_SYSTEM_NAME, f->name);
    wire_uint(&g->message, FUNCTION_FILE, f->file);
    wire_uint(&g->message, FUNCTION_LINE, f->line);
}

static void put_attribute(struct otlp *g, const struct attribute *a)
{
    buf_clear(&g->inner);
    if (a->is_string)
        wire_bytes(&g->inner, VALUE_STRING, strtab_get(&g->strings, a->value),
                   strtab_len(&g->strings, a->value));
    else
        wire_uint(&g->inner, VALUE_INT, a->value);
    wire_uint(&g->message, ATTRIBUTE_KEY, a->key);
    wire_message(&g->message, ATTRIBUTE_VALUE, &g->inner);
}

static void put_stack(struct otlp *g, uint32_t node)
{
    uint32_t depth = 0;
    note(g, paths_unwind(&g->paths, node, &g->stack, &g->stack_cap, &depth));
    buf_clear(&g->inner);
    while (depth--) /* the innermost first */
        buf_put_varint(&g->inner, (uint64_t)g->paths.nodes[g->stack[depth]].spot + 1);
    wire_message(&g->message, STACK_LOCATIONS, &g->inner);
}

static void put_dictionary(struct otlp *g, struct sink *s)
{
    buf_clear(&g->message);
    put_row(g, s, DICTIONARY_MAPPING);
    put_row(g, s, DICTIONARY_LINK);
    put_row(g, s, DICTIONARY_LOCATION);
    for (uint32_t i = 0; i < g->paths.spot_count && !g->error; i++) {
        put_location(g, i);
        put_row(g, s, DICTIONARY_LOCATION);
    }
    put_row(g, s, DICTIONARY_FUNCTION);
    for (uint32_t i = 1; i < g->function_count && !g->error; i++) {
        put_function(g, &g->functions[i]);
        put_row(g, s, DICTIONARY_FUNCTION);
    }
    put_row(g, s, DICTIONARY_ATTRIBUTE);
    for (uint32_t i = 1; i < g->attribute_count && !g->error; i++) {
        put_attribute(g, &g->attributes[i]);
        put_row(g, s, DICTIONARY_ATTRIBUTE);
    }
    put_row(g, s, DICTIONARY_STACK);
    for (uint32_t i = 1; i < g->paths.count && !g->error; i++) {
        if (!g->stack_of[i])
            continue;
        put_stack(g, i);
        put_row(g, s, DICTIONARY_STACK);
    }
    for (uint32_t i = 0; i < g->strings.count && !g->error; i++) {
        buf_put(&g->message, strtab_get(&g->strings, i), strtab_len(&g->strings, i));
        put_row(g, s, DICTIONARY_STRING);
    }
    drain(s, 0);
}

static int put_all(struct otlp *g, FILE *to)
{
    struct sink s = {0};
    struct buf head;
    int rc = strtab_init(&g->strings);
    if (rc == 0)
        rc = allocate(g);
    if (rc)
        return rc;
    g->frame_type = attribute_of(g, "profile.frame.type", true, word(g, "cpython"));
    find_functions(g);
    find_stacks(g);
    put_resources(g, to);
    buf_init(&s.rows, UINT32_MAX);
    put_dictionary(g, &s);
    buf_init(&head, 32);
    wire_head(&head, DATA_DICTIONARY, s.len);
    write_buf(to, &head);
    s.to = to;
    put_dictionary(g, &s);
    buf_release(&head);
    buf_release(&s.rows);
    return g->error;
}

int export_otlp(FILE *to, struct rec_reader *r, const struct export_options *o)
{
    struct otlp g = {0};
    struct buf *const bufs[] = {&g.resource, &g.profile, &g.message, &g.inner, &g.value, &g.text};
    struct map *const maps[] = {&g.by_code, &g.by_number, &g.by_text};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_init(bufs[i], UINT32_MAX);
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        map_init(maps[i]);
    int rc = paths_read(&g.paths, r, o, true);
    if (rc == 0)
        rc = put_all(&g, to);
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_release(bufs[i]);
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        map_release(maps[i]);
    strtab_release(&g.strings);
    sums_release(&g.sums);
    free(g.functions);
    free(g.function_of);
    free(g.stack_of);
    free(g.attributes);
    free(g.stack);
    paths_release(&g.paths);
    if (rc == 0 && (fflush(to) || ferror(to)))
        rc = -EIO;
    return rc;
}
