/* Values: strings, integers, booleans, arrays, and by name what this subset of TOML leaves out. */
#include <string.h>

#include "base/conf_internal.h"

static bool wrong(struct conf_parser *s, const char *what, const char *text)
{
    conf__complain(s->r, s->line, "%s: %s", what, text);
    return false;
}

/* ---- strings --------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A character of the basic plane as UTF-8; returns where the next one goes. */
static char *put_utf8(char *to, unsigned v)
{
    if (v < 0x80) {
        *to++ = (char)v;
        return to;
    }
    if (v < 0x800) {
        *to++ = (char)(0xc0 | v >> 6);
    } else {
        *to++ = (char)(0xe0 | v >> 12);
        *to++ = (char)(0x80 | (v >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (v & 0x3f));
    return to;
}

/* \uXXXX behind its backslash. NUL and halves of surrogate pairs are no characters here. */
static bool unicode_escape(struct conf_parser *s, char **to)
{
    unsigned v = 0;
    if (s->end - s->p < 5)
        return false;
    for (unsigned i = 1; i <= 4; i++) {
        int d = hex_digit(s->p[i]);
        if (d < 0)
            return false;
        v = v << 4 | (unsigned)d;
    }
    if (v == 0 || (v >= 0xd800 && v <= 0xdfff))
        return false;
    *to = put_utf8(*to, v);
    s->p += 5;
    return true;
}

static bool escape(struct conf_parser *s, char **to)
{
    static const char from[] = "\\\"nt", into[] = "\\\"\n\t";
    char c = conf__peek(s);
    const char *which = c != '\0' ? strchr(from, c) : NULL;
    if (c == 'u')
        return unicode_escape(s, to);
    if (which == NULL)
        return false;
    *(*to)++ = into[which - from];
    s->p++;
    return true;
}

/* The end of the string that starts at s->p, at its closing quote; NULL when the line ends first.
 */
static const char *string_end(const struct conf_parser *s, char quote)
{
    for (const char *p = s->p; p < s->end && *p != '\n' && *p != '\r'; p++) {
        if (*p == quote)
            return p;
        if (*p == '\\' && quote == '"' && ++p == s->end)
            break;
    }
    return NULL;
}

static bool string_value(struct conf_parser *s, const char *what, struct conf_raw *out)
{
    if (conf__starts(s, "\"\"\"") || conf__starts(s, "'''"))
        return wrong(s, what, "multi-line strings are not supported: write \\n");
    const char quote = *s->p++;
    const char *end = string_end(s, quote);
    if (end == NULL)
        return wrong(s, what, "the string has no closing quote on its line");
    /* No escape is shorter than what it stands for. */
    char *text = conf__parser_alloc(s, (size_t)(end - s->p) + 1), *to = text;
    if (text == NULL)
        return false;
    while (s->p < end) {
        char c = *s->p++;
        if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f)
            return wrong(s, what, "control character in a string: write \\uXXXX");
        if (c != '\\' || quote == '\'')
            *to++ = c;
        else if (!escape(s, &to))
            return wrong(s, what,
                         "unknown escape in a string, want \\\\ \\\" \\n \\t or \\uXXXX "
                         "(or 'single quotes', which have none)");
    }
    s->p = end + 1;
    *out = (struct conf_raw){ .kind = CONF_RAW_STRING, .s = text };
    return true;
}

/* ---- numbers and words ----------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Names what a bare word is in full TOML, for the complaint. */
static const char *why_not(const char *word, size_t n)
{
    const char *digits = word + (n > 0 && (*word == '+' || *word == '-') ? 1 : 0);
    size_t left = n - (size_t)(digits - word);
    if (left == 0 || (!is_digit(*digits) && *digits != '.'))
        return left == 3 && (memcmp(digits, "inf", 3) == 0 || memcmp(digits, "nan", 3) == 0)
                   ? "floats are not supported"
                   : "unknown word: strings stand in \"quotes\"";
    if (left > 1 && digits[0] == '0' && strchr("xob", digits[1]) != NULL)
        return "want a decimal integer";
    if (memchr(digits, ':', left) != NULL || (left >= 8 && digits[4] == '-'))
        return "dates and times are not supported: write a string";
    if (memchr(digits, '.', left) != NULL)
        return "floats are not supported";
    for (size_t i = 0; i < left; i++)
        if (!is_digit(digits[i]) && digits[i] != '_')
            return "a number with a unit stands in \"quotes\"";
    return "not an integer: no leading zeros, _ only between digits, 64 bits at most";
}

static bool parse_int(const char *word, size_t n, int64_t *out)
{
    const bool is_negative = *word == '-';
    size_t i = *word == '-' || *word == '+' ? 1 : 0;
    uint64_t v = 0;
    const uint64_t most = (uint64_t)INT64_MAX + (is_negative ? 1 : 0);
    if (i == n || !is_digit(word[i]) || !is_digit(word[n - 1]) || (word[i] == '0' && n - i > 1))
        return false;
    for (; i < n; i++) {
        if (word[i] == '_' && word[i - 1] != '_')
            continue;
        unsigned d = (unsigned)(word[i] - '0');
        if (!is_digit(word[i]) || v > (most - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *out = is_negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static bool is_word_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("_+-.:", c) != NULL);
}

static bool word_value(struct conf_parser *s, const char *what, struct conf_raw *out)
{
    const char *word = s->p;
    while (is_word_char(conf__peek(s)))
        s->p++;
    size_t n = (size_t)(s->p - word);
    if (n == 0)
        return wrong(s, what, "want a value: a string, an integer, true, false or an array");
    if ((n == 4 && memcmp(word, "true", 4) == 0) || (n == 5 && memcmp(word, "false", 5) == 0)) {
        *out = (struct conf_raw){ .kind = CONF_RAW_BOOL, .b = n == 4 };
        return true;
    }
    *out = (struct conf_raw){ .kind = CONF_RAW_INT };
    return parse_int(word, n, &out->i) || wrong(s, what, why_not(word, n));
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* Blanks, comments and newlines between values. */
static bool skip_lines(struct conf_parser *s)
{
    for (;;) {
        conf__skip_blanks(s);
        if (!conf__skip_comment(s))
            return false;
        if (!conf__at_newline(s))
            return true;
        conf__skip_newline(s);
    }
}

static bool array_item(struct conf_parser *s, const char *what, struct conf_raw *array)
{
    struct conf_raw item;
    if (conf__peek(s) == '[')
        return wrong(s, what, "arrays inside arrays are not supported");
    if (conf__peek(s) == '\0')
        return wrong(s, what, "the array has no closing ]");
    if (array->n == CONF_ARRAY_MAX)
        return wrong(s, what, "more than 4096 values in one array");
    if (!conf__value(s, what, &item))
        return false;
    if (item.kind == CONF_RAW_BOOL)
        return wrong(s, what, "arrays hold strings or integers");
    if (array->n > 0 && array->items[0].kind != item.kind)
        return wrong(s, what, "strings and integers mixed in one array");
    if ((array->n & (array->n - 1)) == 0) { /* full at each power of two */
        struct conf_raw *more = conf__parser_alloc(s, (2 * array->n + 1) * sizeof *more);
        if (more == NULL)
            return false;
        if (array->n > 0)
            memcpy(more, array->items, array->n * sizeof *more);
        array->items = more;
    }
    array->items[array->n++] = item;
    return true;
}

static bool array_value(struct conf_parser *s, const char *what, struct conf_raw *out)
{
    struct conf_raw array = { .kind = CONF_RAW_ARRAY };
    s->p++;
    for (;;) {
        if (!skip_lines(s))
            return false;
        if (conf__peek(s) == ']')
            break;
        if (!array_item(s, what, &array) || !skip_lines(s))
            return false;
        if (conf__peek(s) == ']')
            break;
        if (conf__peek(s) != ',')
            return wrong(s, what, "want , or ] behind an array's value");
        s->p++;
    }
    s->p++;
    *out = array;
    return true;
}

bool conf__value(struct conf_parser *s, const char *what, struct conf_raw *out)
{
    switch (conf__peek(s)) {
    case '"':
    case '\'':
        return string_value(s, what, out);
    case '[':
        return array_value(s, what, out);
    case '{':
        return wrong(s, what, "inline tables are not supported: write [a table] of its own");
    default:
        return word_value(s, what, out);
    }
}
