/* node/cli/show.h - what comes from the daemon, for people and (--json) for programs. */
#pragma once
#include <msgpack.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* One line of JSON; binaries as base64. False when the value can't be written. */
bool show_json(FILE *to, const msgpack_object *value);

/* Copies text for a terminal, cut to `cap`: what drives one (C0, DEL, C1, line and paragraph ends)
 * or reorders text becomes '?'. Returns buf. */
const char *show_clean(const char *s, size_t len, char *buf, size_t cap);
/* Members of a map, with defaults, never NULL. show_str copies into `buf`, control characters
 * replaced: nothing a peer chose reaches the terminal raw. */
const char *show_str(const msgpack_object *map, const char *key, char *buf, size_t cap);
uint64_t show_u64(const msgpack_object *map, const char *key);
double show_number(const msgpack_object *map, const char *key); /* NAN when absent */
bool show_bool(const msgpack_object *map, const char *key);

/* "1.2 MiB", "340 B"; "2 h 3 min", "4.1 s", "12.3 ms"; into the caller's buffer, which is returned.
 */
enum { SHOW_TEXT = 32 };
const char *show_bytes(double n, char out[static SHOW_TEXT]);
const char *show_seconds(double s, char out[static SHOW_TEXT]);

/* A table whose columns are as wide as their widest cell. Cells are copied. */
struct show_table;
struct show_table *show_table_create(const char *const *titles, size_t n);
void show_table_cell(struct show_table *t, const char *text); /* row by row, left to right */
void show_table_print(struct show_table *t, FILE *to);
void show_table_destroy(struct show_table *t);

/* Whether to use colour: a terminal and no NO_COLOR. */
bool show_colour(FILE *to);
