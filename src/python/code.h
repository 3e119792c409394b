/* code: a process's code objects, read once and remembered by address.
 *
 * An address can be used again for another code object. So an entry carries what identifies its object
 * (the pointers to its name, file and line table, its size and first line), and py_codes_check compares
 * them with the target's memory again; the sampler asks for that whenever a frame is not simply the same
 * frame that was there before.
 */
#ifndef ZOND_PYTHON_CODE_H
#define ZOND_PYTHON_CODE_H

#include "base/map.h"
#include "python/find.h"
#include "python/lines.h"

/* When a process has shown this many code objects, all are forgotten and read anew: bounds the memory to
 * about 40 MB for programs that compile without end. */
#define PY_CODES_MAX 20000

#define PY_NO_ID UINT32_MAX

/* What stays the same while an address holds the same code object. */
struct py_code_identity {
    uint64_t type, size, filename, name, qualname, linetable;
    uint32_t first_line;
};

struct py_code {
    uint64_t address;
    uint64_t checked_ns; /* when its identity was last compared */
    bool shim;  /* CPython's own, between a class and its __init__ (3.12+): nothing that people wrote */
    bool stale; /* the address holds something else by now; the entry is only kept for its users */
    struct py_code_identity identity;
    char *name; /* qualified where the version has it; UTF-8 */
    char *file;
    uint8_t *lines;
    size_t lines_len;
    uint8_t *bytecode; /* NULL when it could not be read */
    size_t units;      /* instructions of two bytes */
    uint32_t *ids;     /* for the user: one id for each instruction, PY_NO_ID until set */
    uint32_t id;       /* for the user: of the whole; set with the first of ids */
};

struct py_codes {
    struct py_code **list;
    size_t count, cap;
    struct map by_address;
    uint64_t code_type; /* &PyCode_Type, learnt from the first code object; 0 until then */
    uint32_t epoch;     /* grows when all entries are freed: pointers to them are then invalid */
};

void py_codes_init(struct py_codes *c);
void py_codes_release(struct py_codes *c);

/* The code object at `address`, read now if it is not known. -EBADMSG: it is no code object. The pointer is
 * valid until `epoch` changes. */
int py_codes_get(struct py_codes *c, struct py_runtime *rt, uint64_t address, uint64_t now_ns,
                 struct py_code **out);

/* Compares the identity of n <= MEMORY_PIECES_MAX entries with the target, in one read. -ESTALE when an
 * address now holds something else: those entries are marked stale and py_codes_get reads anew. */
int py_codes_check(struct py_runtime *rt, struct py_code **entries, size_t n, uint64_t now_ns);

/* The place of the instruction `unit` (two bytes each). */
struct py_place py_code_place(const struct py_runtime *rt, const struct py_code *code, uint32_t unit);

/* Does the instruction call something? False when the bytecode is unknown. */
bool py_code_calls(const struct py_runtime *rt, const struct py_code *code, uint32_t unit);

#endif
