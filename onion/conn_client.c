/* A client's half of the handshake: message 1 and the 0-RTT key with the first flight; message 2
 * brings all others; message 3 is one byte. Also its paths. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "onion/conn_internal.h"

static const uint8_t message3[1] = { 0x01 };

/* A key of small order is found here, not in the midst of a first flight. */
static int try_key(const struct onion_conn *c)
{
    struct onion_stream_hs hs = { 0 };
    cleanup_key32 struct key32 early = { 0 };
    uint8_t msg[ONION_MESSAGE1];
    int code = onion_stream_hello(&hs, &c->id, c->hs.e_secret, c->stamp, NULL, 0, msg, early.b);
    onion_stream_hs_wipe(&hs);
    return code;
}

static int begin(struct onion_conn *c, const struct onion_stream_id *id, uint64_t rtt_ns)
{
    c->id = *id;
    env_random(c->env, c->id.dcid, sizeof c->id.dcid);
    env_random(c->env, c->hs.e_secret, sizeof c->hs.e_secret);
    c->flight = calloc(1, sizeof *c->flight);
    if (c->flight == NULL)
        return CYX_ENOMEM;
    int code = try_key(c);
    return code != 0 ? code : conn__quic_client(c, rtt_ns);
}

struct onion_conn *onion_conn_create(const struct onion_conn_options *o,
                                     const struct onion_stream_id *id, uint64_t net_time,
                                     struct cyx_err *err)
{
    struct onion_conn *c = conn__new(o);
    int code = CYX_ENOMEM;
    if (c != NULL) {
        c->stamp = net_time;
        code = begin(c, id, o->initial_rtt_ns);
    }
    if (code == 0) {
        conn__soon(c); /* arms its timer */
        return c;
    }
    onion_conn_destroy(c);
    (void)cyx_fail(err, code,
                   code == CYX_EPROTO ? "the service key is a point of small order"
                                      : "no memory for a connection");
    return NULL;
}

/* ---- message 1 ------------------------------------------------------------------------------- */

int conn__on_client_initial(ngtcp2_conn *quic, void *arg)
{
    struct onion_conn *c = arg;
    cleanup_key32 struct key32 e = { 0 }, early = { 0 };
    uint8_t params[ONION_PARAMS_MAX], msg[ONION_MESSAGE_MAX];
    int rv = conn__install_initial(c);
    size_t n = conn__params(c, params);
    if (rv != 0 || n == 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    memcpy(e.b, c->hs.e_secret, sizeof e.b);
    if (onion_stream_hello(&c->hs, &c->id, e.b, c->stamp, params, n, msg, early.b) != 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    rv = ngtcp2_conn_submit_crypto_data(quic, NGTCP2_CRYPTO_LEVEL_INITIAL, msg, ONION_MESSAGE1 + n);
    if (rv != 0 || conn__install_early(c, early.b) != 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return 0;
}

/* ---- message 2 ------------------------------------------------------------------------------- */

int conn__gather(struct onion_conn *c, const uint8_t *data, size_t len)
{
    if (len > sizeof c->message - c->n_message)
        return NGTCP2_ERR_CRYPTO;
    memcpy(c->message + c->n_message, data, len);
    c->n_message += len;
    size_t whole = onion_stream_message_len(c->message, c->n_message);
    if (whole == SIZE_MAX || (whole != 0 && c->n_message > whole))
        return NGTCP2_ERR_CRYPTO; /* one message each way, nothing behind it */
    return whole != 0 && whole == c->n_message;
}

static int install(struct onion_conn *c, const struct onion_stream_secrets *s)
{
    int rv = conn__install_handshake(c, &s->handshake);
    if (rv == 0)
        rv = conn__install_rx(c, &s->app);
    if (rv == 0)
        rv = conn__install_tx(c, &s->app);
    return rv;
}

static int read_message2(struct onion_conn *c)
{
    cleanup_stream_secrets struct onion_stream_secrets s = { 0 };
    uint8_t params[ONION_PARAMS_MAX];
    size_t n = 0;
    if (onion_stream_reply_read(&c->hs, c->message, c->n_message, params, &n, &s) != DROP_NONE)
        return NGTCP2_ERR_CRYPTO;
    ngtcp2_conn_set_crypto_ctx(c->quic, onion__quic_crypto_ctx());
    int rv = conn__params_read(c, params, n);
    if (rv == 0)
        rv = install(c, &s);
    if (rv == 0)
        rv = ngtcp2_conn_submit_crypto_data(c->quic, NGTCP2_CRYPTO_LEVEL_HANDSHAKE, message3,
                                            sizeof message3);
    if (rv != 0)
        return rv;
    memcpy(c->resume, s.resume, sizeof c->resume);
    ngtcp2_conn_handshake_completed(c->quic);
    return 0;
}

int conn__on_client_crypto(ngtcp2_conn *quic, ngtcp2_crypto_level level, uint64_t offset,
                           const uint8_t *data, size_t len, void *arg)
{
    struct onion_conn *c = arg;
    (void)quic;
    (void)offset;
    if (level != NGTCP2_CRYPTO_LEVEL_INITIAL || c->state != CONN_EARLY)
        return NGTCP2_ERR_CRYPTO; /* a service says nothing else */
    int rv = conn__gather(c, data, len);
    if (rv <= 0)
        return rv;
    rv = read_message2(c);
    if (rv != 0)
        return rv;
    conn__set_state(c, CONN_OPEN);
    conn__flight_forget(c);
    /* Measured from the first flight's leaving, over a path that failed, round trips look so long
     * that nothing would be sent again for minutes. */
    if (c->n_ups > 1)
        c->kicks = CONN__KICKS;
    if (c->ops->open != NULL)
        c->ops->open(c->arg);
    return c->is_destroyed ? NGTCP2_ERR_CALLBACK_FAILURE : 0;
}
