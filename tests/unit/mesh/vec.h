/* tests/unit/mesh/vec.h - reads tests/vectors/NAME.json. A missing file or field, or hex that is
 * none, fails the running test. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VEC_BYTES_MAX = 8192 };

struct vec_bytes {
    size_t len;
    uint8_t b[VEC_BYTES_MAX];
};

/* The whole file; vec_close at the end of the test. */
json_t *vec_open(const char *name);
void vec_close(json_t *root);

json_t *vec_get(const json_t *o, const char *key);
struct vec_bytes vec_hex(const json_t *string);
struct vec_bytes vec_bytes(const json_t *o, const char *key);
/* Exactly `n` bytes. */
void vec_copy(const json_t *o, const char *key, uint8_t *out, size_t n);
uint64_t vec_u64(const json_t *o, const char *key); /* a number, or text from 2^63 on */
const char *vec_str(const json_t *o, const char *key);
bool vec_bool(const json_t *o, const char *key);
