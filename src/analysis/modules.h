/* modules: which module a source file is, whatever machine, virtual environment or version of Python it is
 * of. Goes by the spelling of the path alone: the files need not be here.
 */
#ifndef ZOND_ANALYSIS_MODULES_H
#define ZOND_ANALYSIS_MODULES_H

#include "base/base.h"
#include "base/buf.h"

enum module_origin {
    MODULE_OWN,       /* the program's own, or none of the others */
    MODULE_INSTALLED, /* below site-packages or dist-packages */
    MODULE_STDLIB,    /* below lib/python3.X, or frozen into the interpreter */
};

/* Where a module comes from; *start is where its path below the directory of such modules begins, 0 for one
 * of the program's own and for a frozen one. */
enum module_origin module_origin(const char *path, size_t len, size_t *start);

/* Appends a name of the module that is the same in every environment: "os" for lib/python3.10/os.py as for
 * <frozen os>, "stdlib:" or "installed:" before it. False, and nothing appended, for the program's own. */
bool module_name(struct buf *out, const char *path, size_t len);

#endif
