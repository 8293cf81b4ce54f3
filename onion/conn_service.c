/* A service's half of the handshake: message 1 is read out of the first datagram, message 2 goes
 * back at once with whatever the application answers; message 3 proves that the client holds the
 * keys, and that what it said was no copy. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "onion/conn_internal.h"

enum { MESSAGE3 = 0x01 };

struct onion_conn *conn__service_new(const struct onion_conn_options *o,
                                     const struct onion_stream_id *id,
                                     const uint8_t secret[static 32])
{
    struct onion_conn *c = conn__new(o);
    if (c == NULL)
        return NULL;
    c->is_service = true;
    c->id = *id;
    memcpy(c->secret, secret, sizeof c->secret);
    c->deadline_ns = c->now_ns + ENV_MS(ONION_NO_ANSWER_MS);
    c->flight = calloc(ONION_FLIGHT_KEPT, sizeof *c->flight);
    if (c->flight == NULL || conn__quic_service(c, o->initial_rtt_ns) != 0) {
        onion_conn_destroy(c);
        return NULL;
    }
    return c;
}

int conn__on_service_initial(ngtcp2_conn *quic, const ngtcp2_cid *dcid, void *arg)
{
    struct onion_conn *c = arg;
    (void)quic;
    (void)dcid; /* conns.c read it and made the id of it */
    return conn__install_initial(c);
}

/* ---- message 1 ------------------------------------------------------------------------------- */

static int refuse(struct onion_conn *c, enum drop why)
{
    c->refused = why;
    return NGTCP2_ERR_CRYPTO;
}

static int answer(struct onion_conn *c)
{
    cleanup_stream_secrets struct onion_stream_secrets s = { 0 };
    cleanup_key32 struct key32 e = { 0 };
    uint8_t params[ONION_PARAMS_MAX], msg[ONION_MESSAGE_MAX];
    size_t n = conn__params(c, params);
    env_random(c->env, e.b, sizeof e.b);
    if (n == 0)
        return NGTCP2_ERR_INTERNAL;
    if (onion_stream_reply(&c->hs, e.b, params, n, msg, &s) != 0)
        return refuse(c, DROP_KEY);
    ngtcp2_conn_set_crypto_ctx(c->quic, onion__quic_crypto_ctx());
    int rv = ngtcp2_conn_submit_crypto_data(c->quic, NGTCP2_CRYPTO_LEVEL_INITIAL, msg,
                                            ONION_MESSAGE2 + n);
    if (rv == 0)
        rv = conn__install_handshake(c, &s.handshake);
    if (rv == 0)
        rv = conn__install_tx(c, &s.app);
    memcpy(c->resume, s.resume, sizeof c->resume);
    c->app = s.app; /* to read with, once message 3 is here */
    return rv;
}

static int read_message1(struct onion_conn *c)
{
    cleanup_key32 struct key32 early = { 0 };
    struct onion_hello hello;
    const uint8_t *e = onion_stream_hello_e(c->message, c->n_message);
    enum drop drop = e == NULL ? DROP_SHORT : DROP_NONE;
    if (drop == DROP_NONE && c->home_ops != NULL)
        drop = c->home_ops->hello_seen(c, e);
    if (drop == DROP_NONE)
        drop = onion_stream_hello_read(&c->hs, &c->id, c->secret, c->message, c->n_message, &hello,
                                       early.b);
    if (drop == DROP_NONE && c->home_ops != NULL)
        drop = c->home_ops->hello_opened(c, e, hello.stamp);
    sodium_memzero(c->secret, sizeof c->secret);
    if (drop != DROP_NONE)
        return refuse(c, drop);
    int rv = conn__params_read(c, hello.params, hello.n_params);
    if (rv == 0)
        rv = conn__install_early(c, early.b);
    return rv != 0 ? rv : answer(c);
}

/* ---- message 3 ------------------------------------------------------------------------------- */

static int read_message3(struct onion_conn *c, const uint8_t *data, size_t len)
{
    if (c->state != CONN_EARLY || c->has_message3 || len != 1 || data[0] != MESSAGE3)
        return NGTCP2_ERR_CRYPTO;
    c->has_message3 = true;
    int rv = conn__install_rx(c, &c->app);
    sodium_memzero(&c->app, sizeof c->app);
    if (rv == 0)
        ngtcp2_conn_handshake_completed(c->quic);
    return rv;
}

int conn__on_service_crypto(ngtcp2_conn *quic, ngtcp2_crypto_level level, uint64_t offset,
                            const uint8_t *data, size_t len, void *arg)
{
    struct onion_conn *c = arg;
    (void)quic;
    (void)offset;
    if (level == NGTCP2_CRYPTO_LEVEL_HANDSHAKE)
        return read_message3(c, data, len);
    if (level != NGTCP2_CRYPTO_LEVEL_INITIAL || c->state != CONN_NEW)
        return NGTCP2_ERR_CRYPTO;
    int rv = conn__gather(c, data, len);
    if (rv <= 0)
        return rv;
    rv = read_message1(c);
    if (rv == 0)
        conn__set_state(c, CONN_EARLY);
    return rv;
}

/* ngtcp2's own state is complete only now: what came before counts as early. */
int conn__on_service_completed(ngtcp2_conn *quic, void *arg)
{
    struct onion_conn *c = arg;
    (void)quic;
    conn__set_state(c, CONN_OPEN);
    conn__flight_forget(c);
    if (c->home_ops != NULL)
        c->home_ops->open(c);
    if (c->ops->open != NULL)
        c->ops->open(c->arg);
    if (!c->is_destroyed)
        conn__deliver_waiting(c);
    return c->is_destroyed ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}
