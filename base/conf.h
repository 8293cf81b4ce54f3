/* base/conf.h - configuration: a subset of TOML, checked against a schema that lives beside the
 * code it configures. Everything is checked before anything is used; every complaint is `file:line:
 * key: what was wrong, what is allowed`.
 *
 * The subset: comments, [table], bare and dotted-free keys, strings ("basic" with \\ \" \n \t
 * \uXXXX, 'literal'), integers (with _ and sign), booleans, arrays of strings or integers over
 * several lines. Not in it, and refused by name: floats, dates, inline tables, arrays of tables,
 * multi-line strings. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum conf_type {
    CONF_BOOL,
    CONF_INT,      /* min..max */
    CONF_SIZE,     /* integer bytes, or "16MiB", "1GiB", "64KiB"; min..max */
    CONF_DURATION, /* "250ms", "30s", "5m", "12h", "7d"; kept in milliseconds; min..max */
    CONF_STRING,   /* min..max bytes; `words` (space separated) limits the values when set */
    CONF_STRINGS,  /* array of strings; min..max items; `words` likewise */
};

struct conf_item {
    const char *table; /* "mesh"; "" for the top level */
    const char *key;
    enum conf_type type;
    int64_t min, max; /* both 0: no bounds (sizes and durations are never negative) */
    const char *def;  /* default as it would stand in the file (`"info"`, `4100`, `[]`); NULL: none,
                         the key is required */
    const char *words; /* allowed values, space separated, or NULL */
    const char *help;  /* one line */
    /* Further check of a value from the file (not of a default); NULL: none. Gets a string's text,
     * each string of an array, otherwise the value in decimal (milliseconds for durations) or
     * true/false. Returns 0, or a CYX_E* with what is wrong in `err`. */
    int (*check)(const char *value, struct cyx_err *err);
};

struct conf;

enum { CONF_FILE_MAX = 1 << 20, CONF_ERRORS_MAX = 20 };

/* A complaint, as conf_load reports each. */
typedef void (*conf_complain_fn)(void *arg, const char *file, unsigned line, const char *text);

/* Reads `text` (named `file` in complaints) against the schema tables in `schemas` (arrays ended by
 * an item with key NULL; n of them). Reports every complaint (at most CONF_ERRORS_MAX) through
 * `complain` (may be NULL). Returns the configuration, owned by the caller (conf_destroy), or NULL
 * with the first complaint in `err`. */
struct conf *conf_parse(const char *file, const char *text, size_t len,
                        const struct conf_item *const *schemas, size_t n, conf_complain_fn complain,
                        void *arg, struct cyx_err *err);

/* The same for a file. CYX_EIO, CYX_ENOENT with path and reason. */
struct conf *conf_load(const char *path, const struct conf_item *const *schemas, size_t n,
                       conf_complain_fn complain, void *arg, struct cyx_err *err);
void conf_destroy(struct conf *c); /* NULL is fine */

/* Calls `fn` for each string under `key` as far as the text can be parsed; whatever is wrong with
 * it is left to conf_parse. For keys that decide which schemas there are. */
void conf_peek(const char *text, size_t len, const char *table, const char *key,
               void (*fn)(void *arg, const char *value), void *arg);

/* Values: the key must be in the schema with that type (a programming error otherwise: asserts). */
bool conf_bool(const struct conf *c, const char *table, const char *key);
int64_t conf_int(const struct conf *c, const char *table,
                 const char *key); /* INT, SIZE, DURATION */
const char *conf_str(const struct conf *c, const char *table, const char *key);
size_t conf_strs(const struct conf *c, const char *table, const char *key,
                 const char *const **out); /* borrowed array */
/* Where the value came from: its line, or 0 for the default. */
unsigned conf_line(const struct conf *c, const char *table, const char *key);

/* Prints every item with help, type, range and default as a commented configuration file. */
void conf_print_schema(void (*put)(void *arg, const char *text), void *arg,
                       const struct conf_item *const *schemas, size_t n);
