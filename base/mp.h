/* base/mp.h - MessagePack on top of msgpack-c, with a guard in front of it. msgpack-c reserves
 * memory for whatever a container header claims, so nothing from outside reaches it before mp_check
 * has walked the bytes. Only one encoding of each value is accepted. */
#pragma once
#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/err.h"
#include "base/writer.h"

enum {
    MP_DEPTH_MAX = 6,         /* PROTOCOL section 6: deeper is refused before decoding */
    MP_LOCAL_DEPTH_MAX = 12,  /* control socket: trees that this machine's own programs build */
    MP_ITEMS_MAX = 65536 / 2, /* values in one message: half the largest message's bytes */
};

/* Walks one MessagePack value that must fill `data` exactly. Checks: depth (containers inside
 * containers, the outermost is 1), every count against the bytes left, minimal encodings (integers,
 * lengths), map keys integers or strings, ascending and without repeats (integers by value before
 * strings; strings byte by byte, a shorter prefix first), no extension types, no floats unless
 * `allow_float`, valid UTF-8 in strings. Never allocates. Spec: PROTOCOL section 6. */
struct mp_rules {
    unsigned depth_max;
    uint32_t items_max; /* all values, containers and keys included */
    bool allow_float;   /* control socket only, and finite; nothing on the wire has floats */
    bool any_key_order; /* control socket only: key order free (repeats still refused up to 64 keys,
                           larger maps refused) */
};
extern const struct mp_rules mp_wire_rules;  /* for bytes from the network */
extern const struct mp_rules mp_local_rules; /* for the control socket */

enum drop mp_check(const uint8_t *data, size_t len, const struct mp_rules *rules);

/* Finds the end of the first value in a stream that has no length prefixes, without looking at a
 * byte twice however it trickles in: init, then mp_scan_more with all bytes so far (the old ones
 * unchanged in front). DROP_NONE: the value is data[0 .. s->at), still to be checked by mp_check;
 * DROP_SHORT: come back with more; DROP_FIELD, DROP_LIMIT: no value that mp_check would take. */
struct mp_scan {
    size_t at;
    uint64_t left; /* values still to come */
    uint32_t items;
};
void mp_scan_init(struct mp_scan *s);
enum drop mp_scan_more(struct mp_scan *s, const uint8_t *data, size_t len,
                       const struct mp_rules *rules);

/* The same in one go: on DROP_NONE data[0 .. *used) is one value and passed mp_check. DROP_SHORT:
 * its end has not come yet. */
enum drop mp_span(const uint8_t *data, size_t len, const struct mp_rules *rules, size_t *used);

/* A decoded tree and the memory it lives in. Strings and binaries borrow from the input bytes:
 * keep them alive as long as the tree. */
struct mp_doc {
    msgpack_zone zone;
    msgpack_object root;
    bool has_zone;
};

/* mp_check and then decode. On DROP_NONE the caller owns `doc` (mp_doc_fini); otherwise `doc` is
 * empty and mp_doc_fini is harmless. */
enum drop mp_parse(struct mp_doc *doc, const uint8_t *data, size_t len,
                   const struct mp_rules *rules);
void mp_doc_fini(struct mp_doc *doc);
#define cleanup_mp __attribute__((cleanup(mp_doc_fini)))

/* Lookups that never trust: NULL / false when absent or of another type. Outputs untouched then. */
const msgpack_object *mp_get(const msgpack_object *map, const char *key);
const msgpack_object *mp_get_int(const msgpack_object *map, uint64_t key);
bool mp_u64(const msgpack_object *o, uint64_t *out);
bool mp_i64(const msgpack_object *o, int64_t *out);
bool mp_bool(const msgpack_object *o, bool *out);
/* Binary of exactly `n` bytes; *out borrows. */
bool mp_bin(const msgpack_object *o, size_t n, const uint8_t **out);
/* Binary of any length; borrows. */
bool mp_bin_any(const msgpack_object *o, const uint8_t **out, size_t *len);
/* String; borrows, not NUL-terminated. */
bool mp_str(const msgpack_object *o, const char **out, size_t *len);
/* True when `o` is a string equal to the NUL-terminated `s`. */
bool mp_is_str(const msgpack_object *o, const char *s);

/* A packer over a writer: pack with msgpack_pack_*, then ask writer_ok(). */
void mp_packer(msgpack_packer *pk, struct writer *w);
/* Short forms for what is packed all the time. */
void mp_pack_str(msgpack_packer *pk, const char *s);
/* The same for text that may be no UTF-8 (a path, a message that was cut): each byte that is none
 * becomes U+FFFD, since no reader takes such a string. */
void mp_pack_text(msgpack_packer *pk, const char *s);
void mp_pack_bin(msgpack_packer *pk, const void *data, size_t len);
