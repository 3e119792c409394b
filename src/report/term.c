/* term: see term.h. Colours are from the Okabe-Ito set in the 256-colour palette: told apart by people who
 * do not see all colours, and legible on a dark and on a light ground.
 */
#include "report/term.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SCRATCH_MAX (1 << 20)
#define LABEL_WIDTH 12
#define INDENT 2

static const char *const ink_codes[INK_COUNT] = {
    [INK_PLAIN] = "",
    [INK_STRONG] = "\033[1m",
    [INK_DIM] = "\033[38;5;244m",
    [INK_WARN] = "\033[38;5;166m",
    [INK_BAR] = "\033[38;5;36m",
    [INK_PYTHON] = "\033[38;5;74m",
    [INK_C] = "\033[38;5;178m",
    [INK_WAIT] = "\033[38;5;240m",
    [INK_GIL] = "\033[38;5;166m",
    [INK_GC] = "\033[38;5;175m",
};

/* Segments that are told apart without colour: Unicode, ASCII. */
static const char *const ink_fills[INK_COUNT][2] = {
    [INK_PLAIN] = {"\u2588", "#"}, [INK_STRONG] = {"\u2588", "#"}, [INK_DIM] = {"\u2591", "."},
    [INK_WARN] = {"\u2588", "#"},  [INK_BAR] = {"\u2588", "#"},    [INK_PYTHON] = {"\u2588", "#"},
    [INK_C] = {"\u2593", "="},     [INK_WAIT] = {"\u2591", "."},   [INK_GIL] = {"\u2592", "!"},
    [INK_GC] = {"\u259e", "~"},
};

static bool env_set(const char *name)
{
    const char *v = getenv(name);
    return v && *v;
}

static bool wants_color(FILE *to, enum report_color color)
{
    const char *python = getenv("PYTHON_COLORS");
    const char *terminal = getenv("TERM");
    if (color != REPORT_COLOR_AUTO)
        return color == REPORT_COLOR_ALWAYS;
    if (python && (strcmp(python, "0") == 0 || strcmp(python, "1") == 0))
        return *python == '1';
    if (env_set("NO_COLOR"))
        return false;
    if (env_set("FORCE_COLOR"))
        return true;
    if (terminal && strcmp(terminal, "dumb") == 0)
        return false;
    return isatty(fileno(to));
}

static bool wants_unicode(void)
{
    const char *v = env_set("LC_ALL")     ? getenv("LC_ALL")
                    : env_set("LC_CTYPE") ? getenv("LC_CTYPE")
                                          : getenv("LANG");
    return v && (strcasestr(v, "utf-8") || strcasestr(v, "utf8"));
}

static int width_of(FILE *to)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    int width = columns ? atoi(columns) : 0;
    if (width <= 0 && ioctl(fileno(to), TIOCGWINSZ, &size) == 0)
        width = size.ws_col;
    return width > 0 ? width : 100;
}

void report_style_init(struct report_style *s, FILE *to, enum report_color color, int width)
{
    *s = (struct report_style){
        .width = width > 0 ? width : width_of(to),
        .color = wants_color(to, color),
        .unicode = wants_unicode(),
    };
    if (s->width < REPORT_MIN_WIDTH)
        s->width = REPORT_MIN_WIDTH;
}

void term_open(struct term *t, FILE *to, const struct report_style *style)
{
    *t = (struct term){.to = to, .style = *style};
    buf_init(&t->scratch, SCRATCH_MAX);
    t->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (t->locale)
        t->previous = uselocale(t->locale);
    else
        t->style.unicode = false;
}

int term_close(struct term *t)
{
    int rc = t->scratch.error;
    if (t->locale) {
        uselocale(t->previous);
        freelocale(t->locale);
    }
    buf_release(&t->scratch);
    if (fflush(t->to) || ferror(t->to))
        rc = -EIO;
    return rc;
}

static void ink_on(struct term *t, enum ink ink)
{
    if (t->style.color)
        fputs(ink_codes[ink], t->to);
}

static void ink_off(struct term *t, enum ink ink)
{
    if (t->style.color && *ink_codes[ink])
        fputs("\033[0m", t->to);
}

void term_put(struct term *t, enum ink ink, const char *fmt, ...)
{
    va_list ap;
    ink_on(t, ink);
    va_start(ap, fmt);
    vfprintf(t->to, fmt, ap);
    va_end(ap);
    ink_off(t, ink);
}

void term_clean(struct term *t, enum ink ink, const char *clean, size_t len)
{
    ink_on(t, ink);
    if (len)
        fwrite(clean, 1, len, t->to);
    ink_off(t, ink);
}

void term_spaces(struct term *t, int n)
{
    if (n > 0)
        fprintf(t->to, "%*s", n, "");
}

void term_newline(struct term *t)
{
    fputc('\n', t->to);
}

void term_bar(struct term *t, enum ink ink, double share, int width)
{
    static const char *const eighths[] = {"",       "\u258f", "\u258e", "\u258d",
                                          "\u258c", "\u258b", "\u258a", "\u2589"};
    double filled = share < 0 ? 0 : share > 1 ? 1 : share;
    int steps = t->style.unicode ? 8 : 1;
    int n = (int)(filled * width * steps + 0.5);
    int whole = n / steps;
    ink_on(t, ink);
    for (int i = 0; i < whole; i++)
        fputs(t->style.unicode ? "\u2588" : "#", t->to);
    if (n % steps)
        fputs(eighths[n % steps], t->to);
    ink_off(t, ink);
    term_spaces(t, width - whole - (n % steps != 0));
}

void term_segment(struct term *t, enum ink ink, int n)
{
    enum ink fill = t->style.color ? INK_PLAIN : ink;
    ink_on(t, ink);
    for (int i = 0; i < n; i++)
        fputs(ink_fills[fill][!t->style.unicode], t->to);
    ink_off(t, ink);
}

void term_heading(struct term *t, const char *title, const char *fmt, ...)
{
    char aside[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(aside, sizeof(aside), fmt, ap);
    va_end(ap);
    int room = t->style.width - (int)strlen(title) - 2;
    fputc('\n', t->to);
    term_put(t, INK_STRONG, "%s", title);
    if (n > 0 && room > 8) {
        buf_clear(&t->scratch);
        text_fit(&t->scratch, aside, strlen(aside), room, TEXT_CUT_END, t->style.unicode);
        term_spaces(t, 2);
        term_clean(t, INK_DIM, (char *)t->scratch.data, t->scratch.len);
    }
    fputc('\n', t->to);
}

/* One word at column `at`, on a new line if it does not fit; returns the column after it. */
static int put_word(struct term *t, enum ink ink, const char *word, size_t len, int at, int indent)
{
    int width = text_width(word, len);
    if (at > indent && at + 1 + width > t->style.width) {
        term_newline(t);
        term_spaces(t, indent);
        at = indent;
    }
    if (at > indent) {
        term_spaces(t, 1);
        at++;
    }
    buf_clear(&t->scratch);
    at += text_fit(&t->scratch, word, len, t->style.width - at, TEXT_CUT_MIDDLE, t->style.unicode);
    term_clean(t, ink, (char *)t->scratch.data, t->scratch.len);
    return at;
}

void term_paragraph(struct term *t, enum ink ink, const char *label, const char *text, size_t len)
{
    int indent = label ? LABEL_WIDTH : INDENT;
    const char *end = text + len;
    if (label)
        term_put(t, INK_STRONG, "%-*s", LABEL_WIDTH, label);
    else
        term_spaces(t, INDENT);
    for (int at = indent; text < end;) {
        const char *space = memchr(text, ' ', (size_t)(end - text));
        size_t n = (size_t)((space ? space : end) - text);
        if (n)
            at = put_word(t, ink, text, n, at, indent);
        text += n + 1;
    }
    term_newline(t);
}

const char *term_dot(const struct term *t)
{
    return t->style.unicode ? " \u00b7 " : ", ";
}
