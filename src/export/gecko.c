/* gecko: the processed profile format of the Firefox Profiler (https://profiler.firefox.com), which opens it
 * by "Load a profile from file". One thread a thread, its samples in the order of time, each with the
 * milliseconds that it stands for as its weight.
 *
 * Of the versions of the format, 60 is the oldest that shares its tables between threads; the profiler brings
 * older files to its own version when it loads them. A stack is a node of paths.h without the root, a frame a
 * spot, a func a code. Written as a stream: columns one after the other, each from its own walk over the
 * samples.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export/formats.h"
#include "export/json_stream.h"
#include "export/label.h"

#define FORMAT_VERSION "60"
#define GECKO_VERSION "29" /* of the raw format that would have been processed */

struct func {
    uint32_t name;   /* of strings */
    uint32_t source; /* index, or MAP_NONE */
    uint32_t line;
};

/* sources: index -> string. func_of: by spot. */
struct gecko {
    FILE *to;
    struct paths paths;
    struct strtab strings;
    struct buf scratch;
    struct map by_code, by_file;
    struct func *funcs;
    uint32_t *func_of, *sources;
    uint32_t func_count, source_count;
};

static int source_of(struct gecko *g, const struct label *l, uint32_t *out)
{
    uint32_t file;
    *out = MAP_NONE;
    if (!l->file_len)
        return 0;
    int rc = label_intern(&g->strings, &g->scratch, l->file, l->file_len, &file);
    if (rc)
        return rc;
    *out = map_get(&g->by_file, file);
    if (*out != MAP_NONE)
        return 0;
    *out = g->source_count++;
    g->sources[*out] = file;
    return map_put(&g->by_file, file, *out);
}

static int func_at(struct gecko *g, uint32_t spot, uint32_t *out)
{
    uint32_t code = g->paths.spots[spot].code;
    struct label l;
    *out = map_get(&g->by_code, code);
    if (*out != MAP_NONE)
        return 0;
    *out = g->func_count++;
    struct func *f = &g->funcs[*out];
    label_of_spot(&g->paths, spot, &l);
    f->line = code & PATHS_PROCESS ? 0 : rec_reader_code(g->paths.reader, code).first_line;
    int rc = label_intern(&g->strings, &g->scratch, l.name, l.name_len, &f->name);
    if (rc == 0)
        rc = source_of(g, &l, &f->source);
    return rc ? rc : map_put(&g->by_code, code, *out);
}

static int find_funcs(struct gecko *g)
{
    size_t most = (size_t)g->paths.spot_count + 1;
    int rc = strtab_init(&g->strings);
    g->funcs = calloc(most, sizeof(*g->funcs));
    g->func_of = calloc(most, sizeof(*g->func_of));
    g->sources = calloc(most, sizeof(*g->sources));
    if (!g->funcs || !g->func_of || !g->sources)
        return -ENOMEM;
    for (uint32_t i = 0; rc == 0 && i < g->paths.spot_count; i++)
        rc = func_at(g, i, &g->func_of[i]);
    return rc;
}

static void put_uint(const struct gecko *g, uint32_t v)
{
    json_put_uint(g->to, v);
}

/* 0 and MAP_NONE have no value in the columns where they are possible. */
static void put_known(const struct gecko *g, uint32_t v)
{
    if (v && v != MAP_NONE)
        json_put_uint(g->to, v);
    else
        fputs("null", g->to);
}

static void put_source_string(const struct gecko *g, uint32_t i)
{
    put_uint(g, g->sources[i]);
}

static void put_func_name(const struct gecko *g, uint32_t i)
{
    put_uint(g, g->funcs[i].name);
}

static void put_func_source(const struct gecko *g, uint32_t i)
{
    if (g->funcs[i].source == MAP_NONE)
        fputs("null", g->to);
    else
        put_uint(g, g->funcs[i].source);
}

static void put_func_line(const struct gecko *g, uint32_t i)
{
    put_known(g, g->funcs[i].line);
}

static void put_frame_func(const struct gecko *g, uint32_t i)
{
    put_uint(g, g->func_of[i]);
}

static void put_frame_line(const struct gecko *g, uint32_t i)
{
    put_known(g, g->paths.spots[i].line);
}

static void put_stack_frame(const struct gecko *g, uint32_t i)
{
    put_uint(g, g->paths.nodes[i + 1].spot);
}

static void put_stack_prefix(const struct gecko *g, uint32_t i)
{
    uint32_t parent = g->paths.nodes[i + 1].parent;
    if (parent)
        put_uint(g, parent - 1);
    else
        fputs("null", g->to);
}

static void put_one_string(const struct gecko *g, uint32_t i)
{
    json_put_text(g->to, strtab_get(&g->strings, i), strtab_len(&g->strings, i));
}

/* "name":[put(0),put(1),...], */
static void put_column(const struct gecko *g, const char *name, uint32_t count,
                       void (*put)(const struct gecko *, uint32_t))
{
    fprintf(g->to, "\"%s\":[", name);
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            putc_unlocked(',', g->to);
        put(g, i);
    }
    fputs("],\n", g->to);
}

/* A column that says the same in each row. */
static void put_same(const struct gecko *g, const char *name, uint32_t count, const char *value)
{
    fprintf(g->to, "\"%s\":[", name);
    for (uint32_t i = 0; i < count; i++)
        fprintf(g->to, "%s%s", i ? "," : "", value);
    fputs("],\n", g->to);
}

static void put_frames(const struct gecko *g)
{
    uint32_t n = g->paths.spot_count;
    fputs("\"frameTable\":{", g->to);
    put_same(g, "address", n, "-1");
    put_same(g, "inlineDepth", n, "0");
    put_same(g, "category", n, "1");
    put_same(g, "subcategory", n, "0");
    put_same(g, "nativeSymbol", n, "null");
    put_same(g, "innerWindowID", n, "null");
    put_same(g, "column", n, "null");
    put_column(g, "func", n, put_frame_func);
    put_column(g, "line", n, put_frame_line);
    fprintf(g->to, "\"length\":%" PRIu32 "},\n", n);
}

static void put_funcs(const struct gecko *g)
{
    uint32_t n = g->func_count;
    fputs("\"funcTable\":{", g->to);
    put_same(g, "isJS", n, "false");
    put_same(g, "relevantForJS", n, "false");
    put_same(g, "resource", n, "-1");
    put_same(g, "columnNumber", n, "null");
    put_column(g, "name", n, put_func_name);
    put_column(g, "source", n, put_func_source);
    put_column(g, "lineNumber", n, put_func_line);
    fprintf(g->to, "\"length\":%" PRIu32 "},\n", n);
}

static void put_shared(const struct gecko *g)
{
    uint32_t stacks = g->paths.count - 1;
    fputs("\"shared\":{\"stackTable\":{", g->to);
    put_column(g, "frame", stacks, put_stack_frame);
    put_column(g, "prefix", stacks, put_stack_prefix);
    fprintf(g->to, "\"length\":%" PRIu32 "},\n", stacks);
    put_frames(g);
    put_funcs(g);
    put_column(g, "stringArray", (uint32_t)g->strings.count, put_one_string);
    fputs("\"resourceTable\":{\"length\":0,\"lib\":[],\"name\":[],\"host\":[],\"type\":[]},\n"
          "\"nativeSymbols\":{\"libIndex\":[],\"address\":[],\"name\":[],\"functionSize\":[],\"length\":0},\n"
          "\"sources\":{",
          g->to);
    put_same(g, "uuid", g->source_count, "null");
    put_column(g, "filename", g->source_count, put_source_string);
    fprintf(g->to, "\"length\":%" PRIu32 "}},\n", g->source_count);
}

static uint64_t since_start(const struct gecko *g, uint64_t ns)
{
    uint64_t start = rec_reader_header(g->paths.reader)->started_ns;
    return ns > start ? ns - start : 0;
}

static void put_meta(const struct gecko *g)
{
    const struct rec_header *h = rec_reader_header(g->paths.reader);
    const char *name = g->paths.options->name ? g->paths.options->name : "zond";
    fputs("\"meta\":{\"preprocessedProfileVersion\":" FORMAT_VERSION ",\"version\":" GECKO_VERSION
          ",\"importedFrom\":\"zond " ZOND_VERSION "\",\"product\":",
          g->to);
    json_put_text(g->to, name, strlen(name));
    fputs(",\"startTime\":", g->to);
    json_put_millis(g->to, h->started_wall_ns);
    fputs(",\"interval\":", g->to);
    json_put_millis(g->to, h->period_ns ? h->period_ns : NS_PER_MS);
    fputs(",\"processType\":0,\"stackwalk\":1,\"debug\":false,\"symbolicated\":true,"
          "\"symbolicationNotSupported\":true,\"usesOnlyOneStackType\":true,\"sourceCodeIsNotOnSearchfox\":"
          "true,"
          "\"markerSchema\":[],\"extensions\":{\"baseURL\":[],\"id\":[],\"name\":[],\"length\":0},"
          "\"categories\":[{\"name\":\"Other\",\"color\":\"grey\",\"subcategories\":[\"Other\"]},"
          "{\"name\":\"Python\",\"color\":\"yellow\",\"subcategories\":[\"Other\"]}]},\n\"libs\":[],\n",
          g->to);
}

enum column { COLUMN_STACK, COLUMN_TIME, COLUMN_WEIGHT };

/* Times are differences to the sample before. */
static void put_sample_column(const struct gecko *g, uint32_t thread, const char *name, enum column column)
{
    struct cursor c = paths_start(&g->paths, thread);
    struct path_sample s = {0};
    uint64_t before = 0;
    fprintf(g->to, "\"%s\":[", name);
    for (bool first = true; paths_next(&c, &s); first = false) {
        uint64_t at = max_u64(before, since_start(g, s.start_ns));
        if (!first)
            putc_unlocked(',', g->to);
        if (column == COLUMN_STACK)
            json_put_uint(g->to, s.path - 1);
        else
            json_put_millis(g->to, column == COLUMN_TIME ? at - before : s.weight);
        before = at;
    }
    fputs("],\n", g->to);
}

static uint32_t count_samples(const struct gecko *g, uint32_t thread)
{
    struct cursor c = paths_start(&g->paths, thread);
    struct path_sample s = {0};
    uint32_t count = 0;
    while (paths_next(&c, &s))
        count++;
    return count;
}

/* No thread of the process was announced before it. */
static bool is_first_of_process(const struct gecko *g, uint32_t thread)
{
    uint32_t process = rec_reader_thread(g->paths.reader, thread).process;
    for (uint32_t i = 0; i < thread; i++) {
        if (rec_reader_thread(g->paths.reader, i).process == process)
            return false;
    }
    return true;
}

static void put_thread_head(const struct gecko *g, uint32_t thread)
{
    struct thread_label t = label_of_thread(&g->paths, thread);
    fputs("{\"name\":", g->to);
    json_put_text(g->to, t.name, t.name_len);
    fprintf(g->to, ",\"processName\":\"process %" PRIu32 "\",\"pid\":\"%" PRIu32 "\",\"tid\":%" PRIu32, t.pid,
            t.pid, t.tid);
    fprintf(g->to, ",\"isMainThread\":%s", is_first_of_process(g, thread) ? "true" : "false");
    fputs(",\"processType\":\"default\",\"processStartupTime\":0,\"processShutdownTime\":null,"
          "\"registerTime\":",
          g->to);
    json_put_millis(g->to, since_start(g, g->paths.threads[thread].start_ns));
    fputs(",\"unregisterTime\":null,\"pausedRanges\":[],\n", g->to);
}

static void put_thread(const struct gecko *g, uint32_t thread)
{
    put_thread_head(g, thread);
    fputs("\"markers\":{\"data\":[],\"name\":[],\"startTime\":[],\"endTime\":[],\"phase\":[],\"category\":[],"
          "\"length\":0},\n\"samples\":{",
          g->to);
    put_sample_column(g, thread, "stack", COLUMN_STACK);
    put_sample_column(g, thread, "timeDeltas", COLUMN_TIME);
    put_sample_column(g, thread, "weight", COLUMN_WEIGHT);
    fprintf(g->to, "\"weightType\":\"tracing-ms\",\"length\":%" PRIu32 "}}", count_samples(g, thread));
}

static int put_all(struct gecko *g)
{
    int rc = find_funcs(g);
    if (rc)
        return rc;
    fputc('{', g->to);
    put_meta(g);
    put_shared(g);
    fputs("\"threads\":[", g->to);
    for (uint32_t i = 0, n = 0; i < g->paths.thread_count; i++) {
        if (!g->paths.threads[i].weight)
            continue;
        fputs(n++ ? ",\n" : "\n", g->to);
        put_thread(g, i);
    }
    fputs("]}\n", g->to);
    return 0;
}

int export_gecko(FILE *to, struct rec_reader *r, const struct export_options *o)
{
    struct gecko g = {.to = to};
    buf_init(&g.scratch, 2 * STRTAB_MAX_LEN);
    map_init(&g.by_code);
    map_init(&g.by_file);
    int rc = paths_read(&g.paths, r, o, true);
    if (rc == 0)
        rc = put_all(&g);
    strtab_release(&g.strings);
    buf_release(&g.scratch);
    map_release(&g.by_code);
    map_release(&g.by_file);
    free(g.funcs);
    free(g.func_of);
    free(g.sources);
    paths_release(&g.paths);
    if (rc == 0 && (fflush(to) || ferror(to)))
        rc = -EIO;
    return rc;
}
