/* places: what the recording calls a native frame, and what it is to Python. Kept by address, as the same few
 * come all the time.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "native/demangle.h"
#include "sample/jitted.h"
#include "sample/target_state.h"

/* Functions of CPython by their role, also the parts that compilers make of them ("NAME.cold"). `collect` is
 * that of 3.8 and 3.9: others may have one of that name. */
static const struct role {
    const char *function;
    enum native_role role;
    bool python_only;
} roles[] = {
    {"_PyEval_EvalFrameDefault", ROLE_EVALUATES, false},
    {"gc_collect_main", ROLE_COLLECTS, false},
    {"collect", ROLE_COLLECTS, true},
    {"py_trampoline_evaluator", ROLE_JUMPS, false},
};

/* Code in memory that no file was mapped to, made by a JIT compiler most often. */
#define NO_FILE "(code of no file)"
/* A longer one is cut; those of GNU ld and lld have 20 bytes at the most. */
#define BUILD_ID_MAX 64
/* Places beyond which all are forgotten: the code that JIT compilers make anew all the time. */
#define PLACES_MAX 65536

static uint32_t named_code(struct target *t, enum rec_kind kind, const char *name, const char *file,
                           uint32_t first_line)
{
    struct rec_writer *w = t->s->writer;
    struct rec_code code = {.name = rec_string(w, name, strlen(name)),
                            .file = rec_string(w, file, strlen(file)),
                            .first_line = first_line,
                            .kind = (uint8_t)kind};
    return rec_code(w, &code);
}

uint32_t target_named_frame(struct target *t, enum rec_kind kind, const char *name, const char *file,
                            uint32_t first_line)
{
    struct rec_frame frame = {.code = named_code(t, kind, name, file, first_line)};
    return rec_frame(t->s->writer, &frame);
}

/* The file that a place is in; none for code of no file. */
static uint32_t module_id(struct target *t, const struct native_place *place)
{
    struct rec_writer *w = t->s->writer;
    char build_id[2 * BUILD_ID_MAX + 1] = "";
    size_t len = min_u64(place->build_id_len, BUILD_ID_MAX);
    hex_put(build_id, place->build_id, len);
    if (!place->module[0])
        return REC_NO_MODULE;
    struct rec_module module = {.path = rec_string(w, place->module, strlen(place->module)),
                                .build_id = rec_string(w, build_id, 2 * len)};
    return rec_module(w, &module);
}

static uint32_t native_frame_id(struct target *t, const struct native_place *place, bool guessed)
{
    enum rec_kind kind = guessed ? REC_GUESSED : REC_NATIVE;
    char unknown[NAME_MAX + 32];
    const char *slash = strrchr(place->module, '/');
    snprintf(unknown, sizeof(unknown), "%.*s+0x%llx", NAME_MAX, slash ? slash + 1 : place->module,
             (unsigned long long)place->offset);
    const char *symbol = place->function[0] ? place->function : place->module[0] ? unknown : NO_FILE;
    uint32_t line = place->source && place->line > 0 ? (uint32_t)place->line : 0;
    struct buf name;
    buf_init(&name, DEMANGLE_MAX * 16);
    demangle(&name, symbol);
    buf_put_u8(&name, 0);
    struct rec_frame frame = {.code = named_code(t, kind, name.error ? symbol : (char *)name.data,
                                                 place->source ? place->source : place->module, 0),
                              .line = line,
                              .module = module_id(t, place)};
    frame.address = frame.module ? place->address : 0;
    buf_release(&name);
    return rec_frame(t->s->writer, &frame);
}

static enum native_role role_of(const struct native_place *place)
{
    const char *slash = strrchr(place->module, '/');
    bool python = slash && (strncmp(slash, "/python", 7) == 0 || strncmp(slash, "/libpython", 10) == 0);
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        size_t len = strlen(roles[i].function);
        bool same = strncmp(place->function, roles[i].function, len) == 0 &&
                    (!place->function[len] || place->function[len] == '.');
        if (same && (python || !roles[i].python_only))
            return roles[i].role;
    }
    return ROLE_NONE;
}

void target_forget_places(struct target *t)
{
    struct natives *n = &t->natives;
    map_clear(&n->place_of);
    map_clear(&n->jit_frames);
    n->place_count = 0;
}

/* The perf map has CPython's trampolines as "py::NAME:FILE" (Objects/perf_trampoline.c). */
static enum native_role role_of_jitted(struct target *t, const struct jit_code *code)
{
    bool trampoline = strncmp(jit_text(&t->natives.native.jit, code->name), "py::", 4) == 0;
    return trampoline ? ROLE_JUMPS : code->wrapper ? ROLE_WRAPS : ROLE_NONE;
}

static uint32_t jit_frame_id(struct target *t, const struct jit_code *code)
{
    const struct jit *j = &t->natives.native.jit;
    const char *name = jit_text(j, code->name), *module = jit_text(j, code->module);
    struct jitted_place place = {.line = 0};
    uint32_t id = map_get(&t->natives.jit_frames, code->name);
    if (id != MAP_NONE)
        return id;
    bool found = code->numba && jitted_find(&t->source, t->natives.main_file, module, name, &place);
    id = target_named_frame(t, REC_JIT, name, found ? place.file : module, place.line);
    if (found || t->natives.main_file[0])
        map_put(&t->natives.jit_frames, code->name, id);
    return id;
}

const struct native_seen *target_place_of(struct target *t, const struct native_frame *f)
{
    struct natives *n = &t->natives;
    uint64_t key = f->pc << 1 | f->guessed;
    uint32_t index = map_get(&n->place_of, key);
    if (index != MAP_NONE)
        return &n->places[index];
    if (n->place_count == PLACES_MAX)
        target_forget_places(t);
    if (!n->places)
        n->places = malloc(PLACES_MAX * sizeof(*n->places));
    if (!n->places || map_put(&n->place_of, key, (uint32_t)n->place_count) != 0)
        return NULL;
    const struct jit_code *jitted = native_jitted(&n->native, f->pc);
    struct native_place place = modules_place(&n->native.modules, f->pc, t->s->native_once);
    n->places[n->place_count] = (struct native_seen){
        .frame = jitted ? jit_frame_id(t, jitted) : native_frame_id(t, &place, f->guessed),
        .role = jitted ? role_of_jitted(t, jitted) : role_of(&place),
    };
    return &n->places[n->place_count++];
}
