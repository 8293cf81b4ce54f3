/* What the configuration says and reads beyond TOML: units, lists of words, guesses. */
#include <stdio.h>
#include <string.h>

#include "base/conf_internal.h"
#include "base/writer.h"

/* ---- units ----------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit sizes[] = {
    { "TiB", 1ll << 40 }, { "GiB", 1 << 30 }, { "MiB", 1 << 20 }, { "KiB", 1 << 10 }, { NULL, 0 },
};
static const struct unit durations[] = {
    { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { NULL, 0 },
};

static bool with_unit(const struct unit *units, const char *text, int64_t *out)
{
    int64_t v = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (v > (INT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (*p - '0');
    }
    if (p == text || (*text == '0' && p != text + 1))
        return false;
    for (const struct unit *u = units; u->name != NULL; u++) {
        if (strcmp(p, u->name) != 0)
            continue;
        if (v > INT64_MAX / u->factor)
            return false;
        *out = v * u->factor;
        return true;
    }
    return false;
}

static void unit_text(const struct unit *units, int64_t v, char out[static 32])
{
    for (const struct unit *u = units; u->name != NULL; u++) {
        if (v == 0 || v % u->factor != 0)
            continue;
        snprintf(out, 32, "%lld%s", (long long)(v / u->factor), u->name);
        return;
    }
    snprintf(out, 32, "%lld", (long long)v);
}

bool conf__size(const char *text, int64_t *bytes)
{
    return with_unit(sizes, text, bytes);
}

bool conf__duration(const char *text, int64_t *ms)
{
    return with_unit(durations, text, ms);
}

void conf__size_text(int64_t bytes, char out[static 32])
{
    unit_text(sizes, bytes, out);
}

void conf__duration_text(int64_t ms, char out[static 32])
{
    if (ms == 0)
        snprintf(out, 32, "0s");
    else
        unit_text(durations, ms, out);
}

/* ---- lists of words -------------------------------------------------------------------------- */

void conf__each_word(const char *words, void (*fn)(void *arg, const char *word, size_t n),
                     void *arg)
{
    for (const char *p = words; *p != '\0';) {
        size_t n = strcspn(p, " ");
        if (n > 0)
            fn(arg, p, n);
        p += n;
        p += strspn(p, " ");
    }
}

bool conf__word_in(const char *words, const char *word, size_t n)
{
    for (const char *p = words; *p != '\0';) {
        size_t len = strcspn(p, " ");
        if (n > 0 && len == n && memcmp(p, word, n) == 0)
            return true;
        p += len;
        p += strspn(p, " ");
    }
    return false;
}

static void put_word(void *arg, const char *word, size_t n)
{
    struct writer *w = arg;
    if (w->p > w->start)
        writer_copy(w, ", ", 2);
    writer_u8(w, '"');
    writer_copy(w, word, n);
    writer_u8(w, '"');
}

/* ---- what is allowed ------------------------------------------------------------------------- */

static void words_text(const char *words, char *out, size_t cap)
{
    struct writer w = writer_on((uint8_t *)out, cap - 1);
    conf__each_word(words, put_word, &w);
    out[writer_len(&w)] = '\0';
}

/* "a size" + " from 1KiB to 1GiB". `text` gives a bound's text. */
static const char *range(const struct conf_item *item, const char *noun,
                         void (*text)(int64_t v, char out[static 32]),
                         char out[static CONF_ALLOWED_MAX])
{
    char min[32], max[32];
    text(item->min, min);
    text(item->max, max);
    if (item->min == 0 && item->max == 0)
        snprintf(out, CONF_ALLOWED_MAX, "%s", noun);
    else
        snprintf(out, CONF_ALLOWED_MAX, "%s from %s to %s", noun, min, max);
    return out;
}

static void plain(int64_t v, char out[static 32])
{
    snprintf(out, 32, "%lld", (long long)v);
}

static const char *string_allowed(const struct conf_item *item, char out[static CONF_ALLOWED_MAX])
{
    char words[CONF_ALLOWED_MAX - 32];
    if (item->words != NULL) {
        words_text(item->words, words, sizeof words);
        snprintf(out, CONF_ALLOWED_MAX, "one of %s", words);
    } else if (item->min == 0 && item->max == 0) {
        snprintf(out, CONF_ALLOWED_MAX, "a string");
    } else {
        snprintf(out, CONF_ALLOWED_MAX, "a string of %lld to %lld bytes", (long long)item->min,
                 (long long)item->max);
    }
    return out;
}

static const char *strings_allowed(const struct conf_item *item, char out[static CONF_ALLOWED_MAX])
{
    char words[CONF_ALLOWED_MAX - 64] = "", count[48] = "";
    if (item->words != NULL)
        words_text(item->words, words, sizeof words);
    if (item->min != 0 || item->max != 0)
        snprintf(count, sizeof count, "%lld to %lld ", (long long)item->min, (long long)item->max);
    snprintf(out, CONF_ALLOWED_MAX, "an array of %sstrings%s%s", count,
             words[0] != '\0' ? " out of " : "", words);
    return out;
}

const char *conf__allowed(const struct conf_item *item, char out[static CONF_ALLOWED_MAX])
{
    switch (item->type) {
    case CONF_BOOL:
        snprintf(out, CONF_ALLOWED_MAX, "true or false");
        return out;
    case CONF_INT:
        return range(item, "an integer", plain, out);
    case CONF_SIZE:
        return range(item, "a size such as \"16MiB\"", conf__size_text, out);
    case CONF_DURATION:
        return range(item, "a duration such as \"30s\"", conf__duration_text, out);
    case CONF_STRING:
        return string_allowed(item, out);
    case CONF_STRINGS:
        return strings_allowed(item, out);
    }
    return "";
}

/* ---- did you mean ---------------------------------------------------------------------------- */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap of neighbours) from one word to the other, words of at most
 * CONF_WORD_MAX bytes. */
static unsigned distance(const char *a, size_t n, const char *b, size_t m)
{
    unsigned rows[3][CONF_WORD_MAX + 1];
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = least(row[j], least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], above2[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

void conf__guess(struct conf_guess *g, const char *candidate)
{
    size_t n = strlen(g->want), m = strlen(candidate);
    if (n == 0 || m == 0 || n > CONF_WORD_MAX || m > CONF_WORD_MAX)
        return;
    unsigned d = distance(g->want, n, candidate, m);
    /* Farther than a third of the word it is no slip of the finger. */
    if (d > (n < 4 ? 1 : n / 3) || (g->best != NULL && d >= g->distance))
        return;
    g->best = candidate;
    g->distance = d;
}
