/* mesh/link_timers.c - the one timer of a link: the earliest of its deadlines, and what is due.
 * Packets only note the time; the timer looks again when it fires, so that the hot path never
 * touches the heap. States and timers: link.c. */
#include "mesh/link_internal.h"

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Do we keep it up with PINGs? */
static bool is_kept_up(const struct mesh_link *l)
{
    return l->is_wanted || mesh__link_paths(l) > 0;
}

static bool is_busy(const struct mesh_link *l)
{
    return is_kept_up(l) || l->n_calls > 0 || l->n_waiting > 0 || l->n_serving > 0;
}

static uint64_t rekey_at(const struct mesh_link *l)
{
    if (l->dial != NULL || !l->current->is_initiator)
        return LINK__NEVER;
    if (mesh_session_sent(l->current->session) == 0)
        return LINK__NEVER; /* unused keys need no heirs */
    if (mesh_session_sent(l->current->session) >= LINK__REKEY_PACKETS && l->rekey_ns == 0)
        return 0;
    return later(l->current->made_ns + ENV_MS(l->mesh->config.lab_rekey_ms), l->rekey_ns);
}

static uint64_t session_end(const struct mesh_link *l)
{
    return l->current->made_ns + ENV_MS(MESH_SESSION_MS);
}

/* 60 s of silence, at least 20 of them after something was sent that asks for an answer. */
static uint64_t dead_at(const struct mesh_link *l)
{
    if (l->unanswered_ns == 0)
        return LINK__NEVER;
    return later(l->last_rx_ns + ENV_MS(MESH_DEAD_MS),
                 l->unanswered_ns + ENV_MS(MESH_KEEPALIVE_MS));
}

/* When either direction was silent for 20 s: our packets keep the NAT's mapping, theirs show life.
 */
static uint64_t keepalive_at(const struct mesh_link *l)
{
    if (!is_kept_up(l))
        return LINK__NEVER;
    return later(earlier(l->last_tx_ns, l->last_rx_ns), l->ctl.ping_ns) + ENV_MS(MESH_KEEPALIVE_MS);
}

static uint64_t idle_at(const struct mesh_link *l)
{
    if (is_busy(l))
        return LINK__NEVER;
    return later(l->last_use_ns, l->pinged_ns) + ENV_MS(MESH_IDLE_MS);
}

/* The next PING of a suspicion, or its end. */
static uint64_t suspect_at(const struct mesh_link *l)
{
    if (l->suspect_ns == 0)
        return LINK__NEVER;
    uint64_t step = (l->suspect_until_ns - l->suspect_ns) / MESH_SUSPECT_PINGS;
    return l->suspect_pings < MESH_SUSPECT_PINGS ? l->suspect_ns + l->suspect_pings * step
                                                 : l->suspect_until_ns;
}

void mesh_link_suspect(struct mesh_link *l)
{
    uint64_t now = mesh__now(l->mesh), wait = ENV_MS(MESH_SUSPECT_MS);
    if (l->rtt_ns * MESH_SUSPECT_RTTS > wait)
        wait = l->rtt_ns * MESH_SUSPECT_RTTS;
    if (l->state != MESH_LINK_UP || l->suspect_ns != 0 || now - l->last_rx_ns < wait / 2)
        return;
    l->suspect_ns = now;
    l->suspect_until_ns = now + wait;
    l->suspect_pings = 0;
    mesh__link_arm(l);
}

/* True when nobody answered. */
static bool suspect_tick(struct mesh_link *l, uint64_t now)
{
    if (l->suspect_ns == 0 || suspect_at(l) > now)
        return false;
    if (l->last_rx_ns > l->suspect_ns) {
        l->suspect_ns = 0;
        return false;
    }
    if (now >= l->suspect_until_ns)
        return true;
    l->suspect_pings++;
    mesh__ping_want(l);
    return false;
}

static uint64_t first_ping_ends(const struct mesh_link *l)
{
    if (list_empty(&l->pings))
        return LINK__NEVER;
    return container_of(l->pings.next, struct mesh__ping, node)->until_ns;
}

static uint64_t deadline(const struct mesh_link *l)
{
    uint64_t at = l->dial != NULL ? l->dial->next_ns : LINK__NEVER;
    at = earlier(at, first_ping_ends(l));
    if (l->current == NULL)
        return at;
    at = earlier(at, rekey_at(l));
    at = earlier(at, session_end(l));
    at = earlier(at, l->previous != NULL ? l->previous_until_ns : LINK__NEVER);
    at = earlier(at, l->confirm_ns);
    at = earlier(at, dead_at(l));
    at = earlier(at, keepalive_at(l));
    at = earlier(at, suspect_at(l));
    at = earlier(at, idle_at(l));
    return earlier(at, earlier(l->outbox_ns, l->inbox_ns));
}

void mesh__link_arm(struct mesh_link *l)
{
    if (l->state == MESH_LINK_CLOSING)
        return;
    uint64_t at = deadline(l);
    if (at == LINK__NEVER)
        env_timer_stop(l->mesh->env, &l->timer);
    else if (!l->timer.is_set || l->timer.at_ns != at)
        env_timer_set(l->mesh->env, &l->timer, at);
}

/* True when the link ended. */
static bool ends_now(struct mesh_link *l, uint64_t now)
{
    if (session_end(l) <= now)
        mesh__link_end(l, "its keys expired");
    else if (dead_at(l) <= now || suspect_tick(l, now))
        mesh__link_end(l, "the peer fell silent");
    else if (idle_at(l) <= now)
        mesh_link_close(l, MESH_BYE_IDLE);
    return l->state == MESH_LINK_CLOSING;
}

static void keys_tick(struct mesh_link *l, uint64_t now)
{
    if (l->previous != NULL && l->previous_until_ns <= now) {
        mesh__keys_destroy(l->mesh, l->previous);
        l->previous = NULL;
    }
    if (rekey_at(l) <= now && mesh__dial_begin(l, &l->addr) != 0)
        l->rekey_ns = now + ENV_MS(LINK__REKEY_AGAIN_MS);
}

static void ping_tick(struct mesh_link *l, uint64_t now)
{
    if (l->confirm_ns <= now) {
        l->confirm_wait_ns *= 2;
        l->confirm_ns = now + l->confirm_wait_ns;
        mesh__ping_want(l);
    } else if (keepalive_at(l) <= now) {
        mesh__ping_want(l);
        l->ctl.ping_ns = now; /* if it can't leave, not every turn asks again */
    }
}

static void up_tick(struct mesh_link *l, uint64_t now)
{
    if (ends_now(l, now))
        return;
    keys_tick(l, now);
    if (l->state == MESH_LINK_CLOSING)
        return;
    ping_tick(l, now);
    mesh__msg_tick(l, now);
}

void mesh__link_timer(struct env_timer *t, void *arg)
{
    struct mesh_link *l = arg;
    uint64_t now = mesh__now(l->mesh);
    (void)t;
    mesh__dial_tick(l, now);
    if (l->state == MESH_LINK_UP)
        up_tick(l, now);
    if (l->state != MESH_LINK_CLOSING)
        mesh__pings_expire(l, now);
    mesh__link_arm(l);
}
