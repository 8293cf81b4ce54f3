/* ngtcp2 made and asked: settings, transport parameters, the table of callbacks. What a newer
 * ngtcp2 calls otherwise is here, in conn_keys.c and in quic_crypto.c. */
#include <sodium.h>
#include <string.h>

#include "onion/conn_internal.h"

enum {
    INITIAL_RTT_MS = 300,
    ACK_THRESH = 32, /* 3.2 packets of ACKs for 100 of data */
    MAX_ACK_DELAY_MS = 25,
    CIDS = 2,
};

/* A token that both sides know lifts QUIC's limit of three times what the client sent: a splice was
 * paid for, there is no address to be forged. */
static uint8_t token[1] = { 0x63 };

/* ---- callbacks that carry no decision --------------------------------------------------------
 */

static void on_rand(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx)
{
    env_random(ctx->native_handle, dest, len);
}

/* Never called with empty connection ids; a random one is right should it be. */
static int on_new_cid(ngtcp2_conn *quic, ngtcp2_cid *cid, uint8_t *reset, size_t len, void *arg)
{
    struct onion_conn *c = arg;
    (void)quic;
    env_random(c->env, cid->data, len);
    cid->datalen = len;
    env_random(c->env, reset, NGTCP2_STATELESS_RESET_TOKENLEN);
    return 0;
}

static int on_challenge(ngtcp2_conn *quic, uint8_t *data, void *arg)
{
    struct onion_conn *c = arg;
    (void)quic;
    env_random(c->env, data, NGTCP2_PATH_CHALLENGE_DATALEN);
    return 0;
}

/* Neither passes onion__quic_shape. */
static int on_retry(ngtcp2_conn *quic, const ngtcp2_pkt_hd *hd, void *arg)
{
    (void)quic;
    (void)hd;
    (void)arg;
    return NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_version(ngtcp2_conn *quic, uint32_t version, const ngtcp2_cid *dcid, void *arg)
{
    (void)quic;
    (void)version;
    (void)dcid;
    (void)arg;
    return NGTCP2_ERR_CALLBACK_FAILURE;
}

static ngtcp2_callbacks callbacks(bool is_service)
{
    ngtcp2_callbacks cb = {
        .rand = on_rand,
        .get_new_connection_id = on_new_cid,
        .get_path_challenge_data = on_challenge,
        .update_key = conn__on_update_key,
        .recv_datagram = conn__on_datagram,
        .version_negotiation = on_version,
    };
    onion__quic_crypto_callbacks(&cb);
    conn__recv_callbacks(&cb);
    if (is_service) {
        cb.recv_client_initial = conn__on_service_initial;
        cb.recv_crypto_data = conn__on_service_crypto;
        cb.handshake_completed = conn__on_service_completed;
    } else {
        cb.client_initial = conn__on_client_initial;
        cb.recv_crypto_data = conn__on_client_crypto;
        cb.recv_retry = on_retry;
    }
    return cb;
}

/* ---- settings and parameters -----------------------------------------------------------------
 */

static ngtcp2_settings settings(struct onion_conn *c, uint64_t rtt_ns)
{
    ngtcp2_settings s;
    ngtcp2_settings_default(&s);
    s.cc_algo = NGTCP2_CC_ALGO_BBR2; /* CUBIC falls to a hundredth at 1% loss */
    s.initial_ts = conn__now(c);
    s.initial_rtt = rtt_ns != 0 ? rtt_ns : ENV_MS(INITIAL_RTT_MS);
    s.max_tx_udp_payload_size = ONION_PAYLOAD;
    s.no_tx_udp_payload_size_shaping = 1;
    s.no_pmtud = 1;
    s.ack_thresh = ACK_THRESH;
    s.handshake_timeout = UINT64_MAX; /* ours waits for the path: conn_timer.c */
    s.token = (ngtcp2_vec){ .base = token, .len = sizeof token };
    s.rand_ctx.native_handle = c->env;
    return s; /* max_window and max_stream_window 0: windows are conn_window.c's */
}

/* What a client may assume of a service before it has heard from it, and what it says itself. */
static ngtcp2_transport_params well_known(void)
{
    return (ngtcp2_transport_params){
        .initial_max_data = ONION_WINDOW_FREE,
        .initial_max_stream_data_bidi_local = ONION_WINDOW_FREE,
        .initial_max_stream_data_bidi_remote = ONION_WINDOW_FREE,
        .initial_max_streams_bidi = ONION_STREAMS,
        .max_idle_timeout = ENV_MS(ONION_IDLE_MS),
        .max_udp_payload_size = ONION_PAYLOAD,
        .active_connection_id_limit = CIDS,
        .ack_delay_exponent = NGTCP2_DEFAULT_ACK_DELAY_EXPONENT,
        .max_ack_delay = ENV_MS(MAX_ACK_DELAY_MS),
        .max_datagram_frame_size = ONION_DATAGRAM_FRAME,
        .disable_active_migration = 1,
    };
}

/* One path under which all packets come and go: ngtcp2's migration never wakes. */
static void fixed_path(struct onion_conn *c)
{
    ngtcp2_path_storage_zero(&c->path);
    c->path.local_addrbuf.in.sin_family = NGTCP2_AF_INET;
    c->path.remote_addrbuf.in.sin_family = NGTCP2_AF_INET;
    c->path.path.local.addrlen = sizeof c->path.local_addrbuf.in;
    c->path.path.remote.addrlen = sizeof c->path.remote_addrbuf.in;
}

static ngtcp2_cid first_dcid(const struct onion_conn *c)
{
    ngtcp2_cid cid;
    ngtcp2_cid_init(&cid, c->id.dcid, sizeof c->id.dcid);
    return cid;
}

int conn__quic_client(struct onion_conn *c, uint64_t rtt_ns)
{
    ngtcp2_callbacks cb = callbacks(false);
    ngtcp2_settings s = settings(c, rtt_ns);
    ngtcp2_transport_params ours = well_known(), theirs = well_known();
    ngtcp2_cid dcid = first_dcid(c), scid = { 0 };
    fixed_path(c);
    if (ngtcp2_conn_client_new(&c->quic, &dcid, &scid, &c->path.path, NGTCP2_PROTO_VER_V1, &cb, &s,
                               &ours, NULL, c) != 0) {
        c->quic = NULL;
        return CYX_ENOMEM;
    }
    ngtcp2_conn_set_early_remote_transport_params(c->quic, &theirs);
    return 0;
}

int conn__quic_service(struct onion_conn *c, uint64_t rtt_ns)
{
    ngtcp2_callbacks cb = callbacks(true);
    ngtcp2_settings s = settings(c, rtt_ns);
    ngtcp2_transport_params ours = well_known();
    ngtcp2_cid none = { 0 };
    fixed_path(c);
    ours.original_dcid = first_dcid(c);
    if (ngtcp2_conn_server_new(&c->quic, &none, &none, &c->path.path, NGTCP2_PROTO_VER_V1, &cb, &s,
                               &ours, NULL, c) != 0) {
        c->quic = NULL;
        return CYX_ENOMEM;
    }
    return 0;
}

static ngtcp2_transport_params_type message_of(bool is_service)
{
    return is_service ? NGTCP2_TRANSPORT_PARAMS_TYPE_ENCRYPTED_EXTENSIONS
                      : NGTCP2_TRANSPORT_PARAMS_TYPE_CLIENT_HELLO;
}

size_t conn__params(struct onion_conn *c, uint8_t out[static ONION_PARAMS_MAX])
{
    ngtcp2_transport_params p = *ngtcp2_conn_get_local_transport_params(c->quic);
    p.initial_scid.datalen = 0; /* ngtcp2 sets it only later: with the handshake key */
    ngtcp2_ssize n =
        ngtcp2_encode_transport_params(out, ONION_PARAMS_MAX, message_of(c->is_service), &p);
    return n > 0 ? (size_t)n : 0;
}

/* Things that ngtcp2 would take and then act on, against our one fixed path. */
static bool is_plain(const ngtcp2_transport_params *p)
{
    return !p->preferred_address_present && !p->stateless_reset_token_present &&
           !p->retry_scid_present && p->max_udp_payload_size >= ONION_PAYLOAD &&
           p->initial_scid.datalen == 0 &&
           (!p->version_info_present || p->version_info.chosen_version == NGTCP2_PROTO_VER_V1);
}

int conn__params_read(struct onion_conn *c, const uint8_t *data, size_t len)
{
    ngtcp2_transport_params p;
    int rv = ngtcp2_decode_transport_params(&p, message_of(!c->is_service), data, len);
    if (rv != 0)
        return rv;
    if (!is_plain(&p))
        return NGTCP2_ERR_TRANSPORT_PARAM;
    return ngtcp2_conn_decode_remote_transport_params(c->quic, data, len);
}

/* ---- questions ------------------------------------------------------------------------------- */

uint64_t conn__rtt(struct onion_conn *c)
{
    ngtcp2_conn_stat stat;
    ngtcp2_conn_get_conn_stat(c->quic, &stat);
    return stat.smoothed_rtt != 0 ? stat.smoothed_rtt : stat.initial_rtt;
}

bool conn__in_flight(struct onion_conn *c)
{
    ngtcp2_conn_stat stat;
    ngtcp2_conn_get_conn_stat(c->quic, &stat);
    return stat.bytes_in_flight > 0;
}

int conn__update_keys(struct onion_conn *c)
{
    return ngtcp2_conn_initiate_key_update(c->quic, conn__now(c));
}
