/* mesh/session.h - the keys of one session: seals and opens FULL packets in place, counts, refuses
 * replays. Pure. Spec: protocol.md, section 4. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/drop.h"
#include "base/err.h"
#include "mesh/handshake.h"
#include "mesh/limits.h"

/* A sliding window over 64-bit counters, MESH_REPLAY_WINDOW wide (RFC 6479's ring of words). */
struct mesh_replay {
    uint64_t top; /* greatest counter accepted + 1; 0: none yet */
    uint64_t bits[MESH_REPLAY_WINDOW / 64 + 1];
};
/* Would `counter` be accepted? Changes nothing. */
bool mesh_replay_fresh(const struct mesh_replay *r, uint64_t counter);
/* Notes an accepted counter (only after its tag was checked). */
void mesh_replay_note(struct mesh_replay *r, uint64_t counter);

/* A session ends here, whoever counts: 2^40 packets (limits.h holds ints only). */
#define MESH_SESSION_PACKETS (UINT64_C(1) << 40)

struct mesh_session;

/* Takes the keys of a finished handshake (copies; the caller wipes its own). NULL: no memory.
 * mesh_has_gcm() says whether this machine has AES hardware worth announcing MESH_FEATURE_GCM. */
struct mesh_session *mesh_session_create(const struct mesh_hs_result *r, uint32_t local_index);
void mesh_session_destroy(struct mesh_session *s); /* wipes; NULL is fine */

/* Seals in place: packet[16..1312) holds the plaintext; header and tag are filled in. CYX_EFULL
 * when the counter reached MESH_SESSION_PACKETS (the session must not be used any more); CYX_ENOMEM
 * at the first packet. */
CYX_MUST_USE int mesh_session_seal(struct mesh_session *s, uint8_t packet[static MESH_PACKET]);

/* Opens in place: plaintext at packet[16..1312). Checks the tag, then the replay window, then notes
 * the counter. DROP_AUTH, DROP_REPLAY, DROP_LIMIT (counter of MESH_SESSION_PACKETS or more),
 * DROP_TYPE (not FULL), DROP_MEMORY: the session is unchanged (the bytes are garbage then).
 * *newest is set when this counter is the greatest so far. */
enum drop mesh_session_open(struct mesh_session *s, uint8_t packet[static MESH_PACKET],
                            bool *newest);

uint32_t mesh_session_local_index(const struct mesh_session *s);
uint32_t mesh_session_remote_index(const struct mesh_session *s);
uint64_t mesh_session_sent(const struct mesh_session *s);     /* packets sealed */
uint64_t mesh_session_received(const struct mesh_session *s); /* packets opened */
bool mesh_session_is_gcm(const struct mesh_session *s);

bool mesh_has_gcm(void);
