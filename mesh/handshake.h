/* mesh/handshake.h - the link handshake: Noise_IK over datagrams with WireGuard's defences. Pure:
 * bytes, time and randomness come in, bytes and decisions go out; a failed check changes nothing.
 * Spec: protocol.md, section 3. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/env.h"
#include "base/err.h"
#include "mesh/network.h"
#include "mesh/noise.h"
#include "mesh/packet.h"

enum mesh_feature {
    MESH_FEATURE_GCM = 1u << 0,      /* AES-256-GCM for packets; both must set it */
    MESH_FEATURE_UNLISTED = 1u << 1, /* has no record */
};

/* A link key pair and what goes with it. `id` is the owner's node id (zero when unlisted). */
struct mesh_hs_self {
    const struct mesh_network *net;
    uint8_t id[32];
    uint8_t secret[32];
    uint8_t pub[32];
    uint32_t features;
    uint8_t version[4]; /* lowest major, highest major, minor, patch */
};

/* What both sides hold after a handshake. Wiped by mesh_hs_result_wipe. */
struct mesh_hs_result {
    uint8_t send_key[32];
    uint8_t recv_key[32];
    uint8_t remote_static[32];
    uint32_t remote_index;
    uint32_t features; /* those that hold on this link; UNLISTED: the other side is */
    uint8_t remote_version[4];
    uint64_t remote_time;     /* RESP: the responder's network time in seconds; INIT: 0 */
    uint64_t remote_sequence; /* INIT: its sequence; RESP: 0 */
};
void mesh_hs_result_wipe(struct mesh_hs_result *r);

/* ---- initiator --------------------------------------------------------------------------------
 */

struct mesh_hs_initiator {
    struct noise noise;
    uint8_t e_secret[32];
    uint8_t remote_static[32];
    uint32_t index;    /* our sender index */
    uint8_t mac1[16];  /* of our INIT: a COOKIE is bound to it */
    uint32_t features; /* offered */
};
void mesh_hs_initiator_wipe(struct mesh_hs_initiator *i);

/* Builds INIT to the node `remote_id` with link key `remote_static`. `e_secret`: 32 fresh random
 * bytes. `cookie`: 16 bytes of an unexpired cookie from there, or NULL. CYX_EPROTO when the remote
 * key is a low-order point. */
CYX_MUST_USE int mesh_hs_init(struct mesh_hs_initiator *i, const struct mesh_hs_self *self,
                              const uint8_t remote_id[static 32],
                              const uint8_t remote_static[static 32], uint32_t index,
                              uint64_t sequence, const uint8_t e_secret[static 32],
                              const uint8_t *cookie, uint8_t packet[static MESH_INIT_LEN]);

/* Opens RESP. On DROP_NONE fills `out` (send/recv from the initiator's view). `i` is unchanged by a
 * packet that fails, so that a later genuine one still works. Checks mac1 first. DROP_FIELD: it
 * claims a feature that was not offered. */
enum drop mesh_hs_finish(const struct mesh_hs_initiator *i, const struct mesh_hs_self *self,
                         const uint8_t *packet, size_t len, struct mesh_hs_result *out);

/* ---- responder --------------------------------------------------------------------------------
 */

/* Cheap checks of a first message: length, major, mac1 against our link key (the caller tries the
 * previous key as well). No public-key work. DROP_VERSION: mac1 is right, the major is another. */
enum drop mesh_hs_init_precheck(const uint8_t *packet, size_t len,
                                const uint8_t self_pub[static 32]);

/* The same for RESP: before mac1 is right it earns neither a COOKIE nor public-key work.
 * mesh_hs_finish checks it again. */
enum drop mesh_hs_resp_precheck(const uint8_t *packet, size_t len,
                                const uint8_t self_pub[static 32]);

struct mesh_hs_responder {
    struct noise noise;
    uint8_t remote_e[32];
    struct mesh_hs_result r; /* remote_static, remote_index, version, sequence, offered features */
};
void mesh_hs_responder_wipe(struct mesh_hs_responder *p);

/* Opens INIT (after precheck, cookie and budgets). */
enum drop mesh_hs_accept(struct mesh_hs_responder *p, const struct mesh_hs_self *self,
                         const uint8_t *packet, size_t len);

/* Builds RESP after the sequence was found fresh; fills `out` (send/recv from the responder's
 * view). `net_time`: seconds, rounded here to 10. `cookie` as in mesh_hs_init (the initiator may be
 * under load too). */
CYX_MUST_USE int mesh_hs_respond(struct mesh_hs_responder *p, const struct mesh_hs_self *self,
                                 uint32_t index, uint64_t net_time,
                                 const uint8_t e_secret[static 32], const uint8_t *cookie,
                                 uint8_t packet[static MESH_RESP_LEN], struct mesh_hs_result *out);

/* mac1 of an INIT or RESP (for mesh_cookie_open, and to bind COOKIE). */
void mesh_hs_mac1_of(const uint8_t *packet, size_t len, uint8_t out[static 16]);

/* ---- cookies ----------------------------------------------------------------------------------
 */

/* cookie = MAC16(secret, address || port), secret of 32 bytes. */
void mesh_cookie_make(uint8_t cookie[static 16], const uint8_t secret[static 32],
                      const struct env_addr *from);

/* Is mac2 of this INIT or RESP right for `cookie`? Constant time. */
bool mesh_mac2_ok(const uint8_t *packet, size_t len, const uint8_t cookie[static 16]);

/* Writes COOKIE, the answer to `packet` (INIT or RESP). `self_pub`: the link key of COOKIE's
 * sender, `nonce`: 24 random bytes. */
void mesh_cookie_build(uint8_t out[static MESH_COOKIE_LEN], const uint8_t *packet, size_t len,
                       const uint8_t self_pub[static 32], const uint8_t nonce[static 24],
                       const uint8_t cookie[static 16]);

/* Checks COOKIE's form and says whom it is for: the sender index of our INIT or RESP. */
enum drop mesh_cookie_index(const uint8_t *packet, size_t len, uint32_t *index);

/* Opens COOKIE from the owner of `remote_pub`, in answer to the packet whose mac1 was `mac1`
 * (mesh_cookie_index finds which). `cookie` is written only on DROP_NONE. */
enum drop mesh_cookie_open(const uint8_t *packet, size_t len, const uint8_t remote_pub[static 32],
                           const uint8_t mac1[static 16], uint8_t cookie[static 16]);

/* ---- VERSION ----------------------------------------------------------------------------------
 */

void mesh_version_build(uint8_t out[static MESH_VERSION_LEN], uint32_t receiver_index);
struct mesh_version_hint {
    uint8_t lowest, highest;
    uint32_t receiver_index;
};
enum drop mesh_version_parse(struct mesh_version_hint *out, const uint8_t *packet, size_t len);
