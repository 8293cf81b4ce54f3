/* base/conf_internal.h - the halves of the configuration: conf_parse.c and conf_value.c turn text
 * into a document of raw entries (syntax), conf.c holds a document against schemas (meaning),
 * conf_words.c says what is allowed. */
#pragma once
#include "base/conf.h"

enum {
    CONF_KEYS_MAX = 4096,  /* keys and tables of one file: duplicates are found by comparing */
    CONF_ARRAY_MAX = 4096, /* values of one array */
    CONF_WORD_MAX = 64,    /* bytes of a key or table name */
};

/* ---- complaints ------------------------------------------------------------------------------ */

struct conf_report {
    const char *file;
    conf_complain_fn fn;
    void *arg;
    struct cyx_err *err;
    unsigned n;  /* so far, those above CONF_ERRORS_MAX too */
    bool no_mem; /* goes before everything else */
};

/* Reports a complaint about `line` (0: the file as a whole); the first also lands in r->err. Bytes
 * that could move a terminal's cursor are escaped. */
__attribute__((format(printf, 3, 4))) void conf__complain(struct conf_report *r, unsigned line,
                                                          const char *fmt, ...);

/* ---- documents ------------------------------------------------------------------------------- */

enum conf_raw_kind { CONF_RAW_BOOL, CONF_RAW_INT, CONF_RAW_STRING, CONF_RAW_ARRAY };

struct conf_raw {
    enum conf_raw_kind kind;
    bool b;
    int64_t i;
    const char *s;          /* owned by the document; without NUL bytes */
    struct conf_raw *items; /* of an array: all integers or all strings */
    size_t n;
};

struct conf_entry {
    const char *table, *key;
    unsigned line;
    struct conf_raw value;
};

struct conf_section {
    const char *name; /* "" for the top level, line 0 */
    unsigned line;
};

struct conf_doc {
    struct conf_block *blocks; /* memory of everything below */
    struct conf_entry *entries;
    size_t n_entries, cap_entries;
    struct conf_section *sections;
    size_t n_sections, cap_sections;
};

void conf__doc_fini(struct conf_doc *d);

/* Zeroed memory that lives as long as the document, or NULL. */
void *conf__alloc(struct conf_doc *d, size_t n);

/* Parses a whole file into an empty document. Complaints tell whether it went well. */
void conf__parse(struct conf_doc *d, const char *text, size_t len, struct conf_report *r);

/* Parses an item's default, one value; false with a complaint when it is none. */
bool conf__parse_default(struct conf_doc *d, const struct conf_item *item, struct conf_raw *out,
                         struct conf_report *r);

/* ---- inside the parser ----------------------------------------------------------------------- */

struct conf_parser {
    const char *p, *end; /* valid UTF-8 without NUL bytes */
    unsigned line;
    struct conf_doc *doc;
    struct conf_report *r;
    const char *table; /* the one that is open; NULL: its header was wrong, its keys are lost */
};

char conf__peek(const struct conf_parser *s); /* NUL at the end */
bool conf__starts(const struct conf_parser *s, const char *prefix);
bool conf__at_newline(const struct conf_parser *s);
void conf__skip_newline(struct conf_parser *s);
void conf__skip_blanks(struct conf_parser *s);
bool conf__skip_comment(struct conf_parser *s); /* false with a complaint */
/* The document's memory; NULL is noted in the report. */
void *conf__parser_alloc(struct conf_parser *s, size_t n);

/* The value at s->p; moves behind it. `what` (the key's name) begins the complaint. */
bool conf__value(struct conf_parser *s, const char *what, struct conf_raw *out);

/* ---- words ----------------------------------------------------------------------------------- */

enum { CONF_ALLOWED_MAX = 256 };

/* "an integer from 1 to 65535": what `item` allows. Returns `out`. */
const char *conf__allowed(const struct conf_item *item, char out[static CONF_ALLOWED_MAX]);

/* The nearest of the words seen so far, for "did you mean": start with best = NULL. */
struct conf_guess {
    const char *want;
    const char *best;
    unsigned distance;
};
void conf__guess(struct conf_guess *g, const char *candidate);

/* True when `word` (n bytes) is one of the space-separated `words`. */
bool conf__word_in(const char *words, const char *word, size_t n);

/* Calls `fn` for each of the space-separated words. */
void conf__each_word(const char *words, void (*fn)(void *arg, const char *word, size_t n),
                     void *arg);

/* "64KiB" to bytes, "30s" to milliseconds. False when `text` is neither. */
bool conf__size(const char *text, int64_t *bytes);
bool conf__duration(const char *text, int64_t *ms);
/* The other way, in the largest unit that fits exactly: `64KiB` (or `100`), `30s`. */
void conf__size_text(int64_t bytes, char out[static 32]);
void conf__duration_text(int64_t ms, char out[static 32]);
