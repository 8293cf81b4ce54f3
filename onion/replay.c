/* onion/replay.c - one rule holds everything up, whatever clocks do:
 *
 *   every record ever accepted under the present onion keys has its e in one of the two
 *   generations, or a stamp below `floor`.
 *
 * So a record is accepted once: its e is new, and its stamp at or above the floor. The window
 * [now - 360, now + 60] only keeps the generations small: what a generation holds when it is
 * dropped is 420 s old, and its greatest stamp, which the floor then rises to, lies behind the
 * window already. Time that goes back meets the floor, or the e that it finds still there; when the
 * floor is too far ahead (more than ONION_REPLAY_WAIT_MAX_S), new keys end the wait.
 *
 * The rule has to survive the process. The file says `ceiling`: no greater stamp was accepted. It
 * is written before its stamps are: nothing above the ceiling that is on disk is accepted. What can
 * happen, in order of a life:
 *
 * - Start; the file is a saved set. Nothing is accepted until the file that says "in use" is on
 *   disk. Killed before that: the saved set still stands, and is complete. After: see next.
 * - Start; the file is "in use", and the trails of the run that it names are there: the program was
 *   killed at any moment, the machine wasn't. Nothing was accepted before it was in a trail, and
 * the file named a run's trails before they counted: the cache is what it was, and goes on. A turn
 * of the generations that was cut short has lost the one before the current one: its greatest stamp
 *   stands at the head of the current one's trail, and the floor rises above it.
 * - A trail can't be written: from then on nothing is accepted until a file that names no trails is
 *   on disk; the next turn begins new ones.
 * - Start; the file is "in use", without trails: an earlier run was killed with its machine. All it
 *   ever accepted was at or below the file's ceiling, or the ceiling of a file before it, and
 * ceilings only rise (over restarts too): the floor is ceiling + 1.
 * - Start; there is no file, or it names none of our keys, or it is damaged: nothing is known but
 * T, which may lag. The floor is max(T, now) + 60 + that lag + 1. New keys need no file.
 * - The next minute's ceiling is being written. Killed: either file is right. The disk refuses: the
 *   old ceiling holds, and when time has passed it nothing is accepted.
 * - Keys rotate: a file names all keys when it is written, and counts for an identity that holds
 *   one of them. Builds are accepted only while the file on disk counts.
 * - New keys end a wait: the identity is on disk first (the caller's part). Killed then: the file
 *   names none of its keys, and T decides. Then the cache is emptied; it accepts nothing until a
 * file that names the new key is on disk. Killed: that file's ceiling decides. Should the old
 *   identity come back (a backup), the new file doesn't count for it.
 * - Clean stop: from the call on nothing is accepted, so what is being saved stays complete. The
 *   store comes after all earlier ones. Killed: "in use" or saved, both are right. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/reader.h"
#include "onion/replay_internal.h"

enum { MINUTE = 60 };

struct onion_replay {
    struct env *env;
    const struct mesh_identity *identity;
    enum onion_replay_past past;
    struct onion__replay_file now; /* as it would be written; ceiling: the greatest asked for */

    /* the file on disk, as far as it was in use; the one being written */
    struct {
        uint64_t ceiling;
        struct onion__key_names names;
        uint8_t run[ONION__REPLAY_RUN];
    } on_disk, in_flight;
    struct onion__trails trails;     /* of now.run, if that isn't zero */
    struct onion__key_names lineage; /* keys whose builds the generations remember */
    bool is_storing;
    uint64_t clock; /* network time as last heard */
    uint64_t tried; /* ... at the last try: a failing disk is asked once a second */
    bool is_failing;

    bool is_stopped;
    bool is_closed; /* freed when the last store has ended */
    unsigned n_stores_open;
    env_done_fn stopped;
    void *stopped_arg;
    uint64_t stores, refused;
};

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---- trails ---------------------------------------------------------------------------------- */

static void run_end(struct onion_replay *r)
{
    onion__trails_close(&r->trails);
    memset(r->now.run, 0, sizeof r->now.run);
}

static void run_begin(struct onion_replay *r)
{
    env_random(r->env, r->now.run, sizeof r->now.run);
    if (onion__trails_begin(&r->trails, &r->now) != 0)
        run_end(r);
}

static bool has_run(const struct onion_replay *r)
{
    return r->trails.now != NULL;
}

static bool is_run_on_disk(const struct onion_replay *r)
{
    return memcmp(r->on_disk.run, r->now.run, sizeof r->now.run) == 0;
}

/* ---- generations ----------------------------------------------------------------------------- */

static void forget(struct onion_replay *r, struct onion__generation *g)
{
    if (g->seen.n > 0)
        r->now.floor = greater(r->now.floor, sum(g->newest, 1));
    onion__set_clear(&g->seen);
    *g = (struct onion__generation){ 0 };
}

static void rotate(struct onion_replay *r, uint64_t now)
{
    struct onion__generation *g = r->now.gens;
    /* Time went far back: the generation mustn't last until then. */
    if (g[0].start > now && g[0].start - now > ONION_REPLAY_WAIT_MAX_S)
        g[0].start = now;
    if (now < g[0].start || now - g[0].start < ONION_REPLAY_GENERATION_S)
        return;
    bool is_over = now - g[0].start >= ONION__GENERATIONS * ONION_REPLAY_GENERATION_S;
    forget(r, &g[1]);
    g[1] = g[0];
    g[0] = (struct onion__generation){ .start = now };
    if (is_over)
        forget(r, &g[1]);
    if (!has_run(r))
        run_begin(r);
    else if (onion__trails_turn(&r->trails, &r->now) != 0)
        run_end(r);
}

static uint64_t hash_of(const struct onion_replay *r, const uint8_t e[static 32])
{
    uint8_t out[crypto_shorthash_BYTES];
    _Static_assert(ONION__REPLAY_KEY == crypto_shorthash_KEYBYTES, "SipHash-2-4");
    crypto_shorthash(out, e, 32, r->now.key);
    struct reader in = reader_on(out, sizeof out);
    uint64_t hash = reader_u64(&in);
    return hash != 0 ? hash : 1; /* 0 marks an empty slot */
}

/* ---- the file -------------------------------------------------------------------------------- */

static uint64_t name_of(const struct mesh_keypair *k)
{
    struct reader in = reader_on(k->pub, sizeof k->pub);
    return k->made != 0 ? reader_u64(&in) : 0;
}

static struct onion__key_names names_of(const struct mesh_identity *i)
{
    struct onion__key_names names;
    for (size_t k = 0; k < MESH_ONION_KEYS; k++)
        names.of[k] = name_of(&i->onion[k]);
    return names;
}

/* Does a file with these names count for the keys that we hold? Keys come and go one by one, but
 * for a wait's end, which replaces them all and empties the cache: one in common is enough. */
static bool names_ours(const struct onion__key_names *names, const struct mesh_identity *i)
{
    for (size_t k = 0; k < MESH_ONION_KEYS; k++) {
        uint64_t name = name_of(&i->onion[k]);
        for (size_t n = 0; n < MESH_ONION_KEYS; n++)
            if (name != 0 && names->of[n] == name)
                return true;
    }
    return false;
}

static void note_result(struct onion_replay *r, int code)
{
    bool is_failing = code != 0 && code != CYX_ECANCELED;
    if (is_failing)
        r->refused++;
    if (is_failing && !r->is_failing && !r->is_closed)
        log_warn(r->env->log, "onion", "%s is not on disk (%s): builds are refused until it is",
                 ONION_REPLAY_FILE, cyx_code_name(code));
    r->is_failing = is_failing;
}

static void release(struct onion_replay *r)
{
    if (!r->is_closed || r->n_stores_open > 0)
        return;
    onion__trails_close(&r->trails);
    onion__replay_file_clear(&r->now);
    free(r);
}

static void keep_ahead(struct onion_replay *r, uint64_t now);

static void in_use_stored(void *arg, int code)
{
    struct onion_replay *r = arg;
    r->n_stores_open--;
    r->is_storing = false;
    note_result(r, code);
    if (code == 0) {
        r->on_disk = r->in_flight;
        keep_ahead(r, r->clock); /* keys or time may have moved on meanwhile */
    }
    release(r);
}

/* Writes what allows stamps up to now + 60, ahead of time. */
static void keep_ahead(struct onion_replay *r, uint64_t now)
{
    uint8_t file[256];
    uint64_t want = sum(now, ONION_STAMP_FUTURE_S + ONION_REPLAY_LEAD_S);
    want -= want % MINUTE; /* as stamps are */
    r->clock = now;
    bool is_ahead = r->on_disk.ceiling >= want && is_run_on_disk(r) &&
                    names_ours(&r->on_disk.names, r->identity);
    if (is_ahead || r->is_storing || r->is_stopped || (r->is_failing && now == r->tried))
        return;
    r->now.ceiling = greater(r->now.ceiling, want);
    r->now.names = names_of(r->identity);
    if (names_ours(&r->lineage, r->identity))
        r->lineage = r->now.names; /* a rotation; all new ones wait for onion_replay_renewed */
    r->in_flight.ceiling = r->now.ceiling;
    r->in_flight.names = r->now.names;
    memcpy(r->in_flight.run, r->now.run, sizeof r->in_flight.run);
    int len = onion__replay_encode(&r->now, file, sizeof file);
    if (len < 0)
        return; /* can't be: this form has one size */
    r->tried = now;
    r->is_storing = true;
    r->n_stores_open++;
    r->stores++;
    env_blob_store(r->env, ONION_REPLAY_FILE, file, (size_t)len, in_use_stored, r);
}

/* ---- start ----------------------------------------------------------------------------------- */

static void begin_empty(struct onion_replay *r, uint64_t now)
{
    onion__replay_file_clear(&r->now);
    env_random(r->env, r->now.key, sizeof r->now.key);
    r->now.gens[0].start = now;
}

static int load(struct onion_replay *r, struct onion__replay_file *out)
{
    struct cyx_err err = { 0 };
    size_t len = 0;
    cleanup_free uint8_t *data = malloc(ONION_REPLAY_FILE_MAX);
    if (data == NULL)
        return CYX_ENOMEM;
    int code = env_blob_load(r->env, ONION_REPLAY_FILE, data, ONION_REPLAY_FILE_MAX, &len, &err);
    if (code == CYX_ENOENT)
        return code;
    if (code == 0)
        code = onion__replay_decode(out, data, len);
    if (code != 0 && code != CYX_ENOMEM)
        log_warn(r->env->log, "onion", "%s can't be used (%s): builds are refused for some minutes",
                 ONION_REPLAY_FILE, cyx_code_name(code));
    return code;
}

static int begin(struct onion_replay *r, const struct onion_replay_start *start)
{
    struct onion__replay_file file = { 0 };
    begin_empty(r, start->now);
    if (start->keys_are_new) {
        r->past = ONION_REPLAY_NEW_KEYS;
        return 0;
    }
    int code = load(r, &file);
    if (code == CYX_ENOMEM)
        return code;
    if (code != 0 || !names_ours(&file.names, r->identity)) {
        r->past = ONION_REPLAY_LOST;
        r->now.ceiling =
            sum(greater(start->greatest, start->now), ONION_STAMP_FUTURE_S + ONION_REPLAY_LAG_S);
        r->now.floor = sum(r->now.ceiling, 1);
    } else if (file.is_saved || (code = onion__trails_resume(&r->trails, &file)) == 0) {
        r->past = file.is_saved ? ONION_REPLAY_SAVED : ONION_REPLAY_KEPT;
        onion__replay_file_clear(&r->now);
        r->now = file;
        r->now.is_saved = false; /* the next that is written is in use */
        return 0;                /* its sets are ours */
    } else if (code == CYX_ENOMEM) {
        return code;
    } else {
        r->past = ONION_REPLAY_CRASHED;
        r->now.ceiling = file.ceiling;
        r->now.floor = greater(file.floor, sum(file.ceiling, 1));
    }
    onion__replay_file_clear(&file);
    return 0;
}

struct onion_replay *onion_replay_open(struct env *env, const struct onion_replay_start *start,
                                       struct cyx_err *err)
{
    struct onion_replay *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->env = env;
        r->identity = start->identity;
        r->lineage = names_of(r->identity);
        r->trails.env = env;
    }
    if (r == NULL || begin(r, start) != 0) {
        onion_replay_close(r);
        (void)cyx_fail(err, CYX_ENOMEM, "no memory for the replay cache of path builds");
        return NULL;
    }
    if (!has_run(r))
        run_begin(r);
    keep_ahead(r, start->now);
    return r;
}

void onion_replay_close(struct onion_replay *r)
{
    if (r == NULL)
        return;
    r->is_stopped = true;
    r->is_closed = true;
    r->stopped = NULL;
    release(r);
}

/* ---- records --------------------------------------------------------------------------------- */

/* The greatest stamp that may be accepted now; 0: none. */
static uint64_t ceiling(const struct onion_replay *r)
{
    bool is_ready =
        !r->is_stopped && is_run_on_disk(r) && names_ours(&r->on_disk.names, r->identity);
    return is_ready ? r->on_disk.ceiling : 0;
}

enum drop onion_replay_check(struct onion_replay *r, const uint8_t e[static 32], uint64_t now)
{
    rotate(r, now);
    keep_ahead(r, now);
    uint64_t lowest = now > ONION_STAMP_PAST_S ? now - ONION_STAMP_PAST_S : 0;
    uint64_t highest = sum(now, ONION_STAMP_FUTURE_S);
    uint64_t top = ceiling(r);
    if (top == 0 || top < lowest || r->now.floor > (top < highest ? top : highest))
        return DROP_STATE; /* whatever its stamp is */
    if (r->now.gens[0].seen.n >= ONION_REPLAY_MAX)
        return DROP_LOAD;
    uint64_t hash = hash_of(r, e);
    for (size_t i = 0; i < ONION__GENERATIONS; i++)
        if (onion__set_has(&r->now.gens[i].seen, hash))
            return DROP_REPLAY;
    return DROP_NONE;
}

enum drop onion_replay_enter(struct onion_replay *r, const uint8_t e[static 32], uint64_t stamp,
                             uint64_t now)
{
    struct onion__generation *g = &r->now.gens[0];
    enum drop drop = onion_replay_check(r, e, now);
    if (drop != DROP_NONE)
        return drop;
    if (stamp < now ? now - stamp > ONION_STAMP_PAST_S : stamp - now > ONION_STAMP_FUTURE_S)
        return DROP_EXPIRED;
    if (stamp < r->now.floor)
        return DROP_EXPIRED;
    if (stamp > ceiling(r))
        return DROP_STATE;
    uint64_t hash = hash_of(r, e);
    if (has_run(r) && onion__trails_add(&r->trails, hash, stamp) != 0) {
        run_end(r);
        return DROP_STATE;
    }
    if (onion__set_add(&g->seen, hash) != 0)
        return DROP_MEMORY;
    g->newest = greater(g->newest, stamp);
    return DROP_NONE;
}

/* ---- time and keys --------------------------------------------------------------------------- */

uint64_t onion_replay_wait(const struct onion_replay *r, uint64_t now)
{
    uint64_t at = r->now.floor; /* the first whole minute from here on is a stamp again */
    if (at % MINUTE != 0)
        at = sum(at, MINUTE - at % MINUTE);
    return at > now ? at - now : 0;
}

bool onion_replay_tick(struct onion_replay *r, uint64_t now)
{
    rotate(r, now);
    keep_ahead(r, now);
    return onion_replay_wait(r, now) > ONION_REPLAY_WAIT_MAX_S;
}

void onion_replay_renewed(struct onion_replay *r, uint64_t now)
{
    if (names_ours(&r->lineage, r->identity))
        return; /* keys that builds were accepted under: nothing may be forgotten */
    begin_empty(r, now);
    r->lineage = names_of(r->identity);
    run_begin(r);
    keep_ahead(r, now);
}

/* ---- clean stop ------------------------------------------------------------------------------ */

static void saved_stored(void *arg, int code)
{
    struct onion_replay *r = arg;
    env_done_fn done = r->stopped;
    void *done_arg = r->stopped_arg;
    r->n_stores_open--;
    note_result(r, code);
    if (code == 0)
        onion__trails_empty(&r->trails); /* no trace is left of what isn't needed */
    release(r);
    if (done != NULL)
        done(done_arg, code);
}

int onion_replay_stop(struct onion_replay *r, uint64_t now, env_done_fn done, void *arg)
{
    struct onion__generation *last = &r->now.gens[1];
    r->is_stopped = true;
    r->now.is_saved = true;
    r->now.names = names_of(r->identity);
    if (now > ONION_STAMP_PAST_S && last->newest < now - ONION_STAMP_PAST_S)
        forget(r, last); /* behind every window to come */
    for (size_t i = ONION__GENERATIONS; i-- > 0;)
        if (onion__replay_file_size(&r->now) > ONION_REPLAY_FILE_MAX)
            forget(r, &r->now.gens[i]);
    size_t len = onion__replay_file_size(&r->now);
    cleanup_free uint8_t *file = malloc(len);
    if (file == NULL || onion__replay_encode(&r->now, file, len) != (int)len)
        return CYX_ENOMEM;
    r->stopped = done;
    r->stopped_arg = arg;
    r->n_stores_open++;
    r->stores++;
    env_blob_store(r->env, ONION_REPLAY_FILE, file, len, saved_stored, r);
    sodium_memzero(file, len);
    return 0;
}

void onion_replay_info(const struct onion_replay *r, struct onion_replay_info *out)
{
    const struct onion__generation *g = r->now.gens;
    *out = (struct onion_replay_info){ .past = r->past,
                                       .entries = g[0].seen.n + g[1].seen.n,
                                       .bytes = (g[0].seen.cap + g[1].seen.cap) * sizeof(uint64_t),
                                       .floor = r->now.floor,
                                       .ceiling = ceiling(r),
                                       .stores = r->stores,
                                       .refused = r->refused };
}
