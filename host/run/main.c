/* cyx-run - the verbs of an OCI runtime over the isolation core. Page: docs/oci.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "host/run/run.h"

static const struct {
    const char *name;
    int (*run)(struct iso_engine *e, const struct options *o, struct cyx_err *err);
    bool wants_id;
} verbs[] = {
    { "create", verb_create, true }, { "run", verb_run, true },
    { "exec", verb_exec, true },     { "start", verb_start, true },
    { "state", verb_state, true },   { "kill", verb_kill, true },
    { "delete", verb_delete, true }, { "pause", verb_pause, true },
    { "resume", verb_resume, true }, { "ps", verb_ps, true },
    { "events", verb_events, true }, { "list", verb_list, false },
    { "spec", verb_spec, false },    { "features", verb_features, false },
};

/* Engines read the log file for the reason of a failure, in the format they asked for. */
static void report(const struct options *o, const char *text)
{
    fprintf(stderr, "cyx-run: %s\n", text);
    cleanup_fclose FILE *f = o->log != NULL ? fopen(o->log, "ae") : NULL;
    if (f == NULL)
        return;
    if (!o->log_json) {
        fprintf(f, "cyx-run: %s\n", text);
        return;
    }
    char now[32];
    time_t t = time(NULL);
    struct tm tm;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    json_t *line = json_pack("{s:s, s:s, s:s}", "level", "error", "msg", text, "time", now);
    if (line != NULL)
        json_dumpf(line, f, JSON_COMPACT);
    fputc('\n', f);
    json_decref(line);
}

static int run_verb(const struct options *o, struct cyx_err *err)
{
    struct iso_engine *e = NULL;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, o->verb) != 0)
            continue;
        if (verbs[i].wants_id && !iso_name_ok(o->id))
            return cyx_fail(err, CYX_EINVAL, "%s: want a container's name", o->verb);
        if (verbs[i].run == verb_spec)
            return verb_spec(NULL, o, err);
        int rc = iso_engine_open(&e, o->root, err);
        rc = rc < 0 ? rc : verbs[i].run(e, o, err);
        iso_engine_close(e);
        return rc;
    }
    return cyx_fail(err, CYX_EINVAL, "%s: no such verb, see --help", o->verb);
}

/* Only what makes processes inside needs the sealed copy. */
static bool launches(const char *verb)
{
    return strcmp(verb, "create") == 0 || strcmp(verb, "run") == 0 || strcmp(verb, "exec") == 0;
}

int main(int argc, char **argv)
{
    struct options o;
    struct cyx_err err = { 0 };
    if (options_parse(&o, argc, argv) < 0)
        return 1;
    if (o.help || strcmp(o.verb != NULL ? o.verb : "", "help") == 0) {
        options_usage();
        return 0;
    }
    if (strcmp(o.verb, "version") == 0) {
        printf("cyx-run version %s\nspec: 1.0.2\n", CYX_VERSION);
        return 0;
    }
    int rc = launches(o.verb) ? iso_seal_self(argv, &err) : 0;
    rc = rc < 0 ? rc : run_verb(&o, &err);
    if (rc < 0)
        report(&o, err.msg);
    return rc < 0 ? 1 : rc;
}
