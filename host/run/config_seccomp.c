/* host/run/config_seccomp.c - an engine's profile narrows the core's own list; it can't widen it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "host/isolation/filter.h"
#include "host/run/config.h"

enum { NUMBERS = 512 };

/* What the profile says of one number. */
struct verdict {
    bool named;
    bool allowed; /* by some rule without arguments */
    bool by_argument;
    uint16_t error;
};

static int action_of(const char *name, bool *allows)
{
    static const char *const allow[] = { "SCMP_ACT_ALLOW", "SCMP_ACT_LOG" };
    static const char *const deny[] = { "SCMP_ACT_ERRNO",        "SCMP_ACT_KILL",
                                        "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
                                        "SCMP_ACT_TRAP",         "SCMP_ACT_NOTIFY",
                                        "SCMP_ACT_TRACE" };
    *allows = false;
    for (size_t i = 0; name != NULL && i < 2; i++) {
        if (strcmp(name, allow[i]) == 0) {
            *allows = true;
            return 0;
        }
    }
    for (size_t i = 0; name != NULL && i < sizeof deny / sizeof deny[0]; i++) {
        if (strcmp(name, deny[i]) == 0)
            return 0;
    }
    return CYX_EINVAL;
}

static int read_rules(json_t *syscalls, struct verdict *v, struct cyx_err *err)
{
    size_t i, k;
    json_t *rule, *name;
    json_array_foreach(syscalls, i, rule)
    {
        bool allows;
        if (action_of(config__string(rule, "action"), &allows) < 0)
            return cyx_fail(err, CYX_EINVAL, "linux.seccomp.syscalls: unknown action");
        bool has_args = json_array_size(json_object_get(rule, "args")) > 0;
        json_t *error = json_object_get(rule, "errnoRet");
        json_array_foreach(json_object_get(rule, "names"), k, name)
        {
            int nr = json_is_string(name) ? iso_syscall_number(json_string_value(name)) : -1;
            if (nr < 0 || nr >= NUMBERS)
                continue; /* another machine's or a newer one: the core denies it */
            v[nr].named = true;
            v[nr].allowed = v[nr].allowed || (allows && !has_args);
            v[nr].by_argument = v[nr].by_argument || has_args;
            if (!allows && json_is_integer(error))
                v[nr].error = (uint16_t)json_integer_value(error);
        }
    }
    return 0;
}

/* A call that the profile allows for some arguments stays as the core has it: the core's own
 * argument rules are the stricter ones for clone, personality and socket. */
int config__seccomp(struct config *c, json_t *seccomp, struct cyx_err *err)
{
    unsigned n_ours, n = 0;
    bool allows;
    if (!json_is_object(seccomp))
        return 0;
    if (action_of(config__string(seccomp, "defaultAction"), &allows) < 0)
        return cyx_fail(err, CYX_EINVAL, "linux.seccomp.defaultAction");
    cleanup_free struct verdict *v = calloc(NUMBERS, sizeof *v);
    cleanup_free struct iso_filter_rule *rules = calloc(ISO_FILTER_RULES_MAX, sizeof *rules);
    if (v == NULL || rules == NULL)
        return cyx_fail(err, CYX_ENOMEM, "seccomp");
    if (read_rules(json_object_get(seccomp, "syscalls"), v, err) < 0)
        return CYX_EINVAL;
    const struct iso_filter_rule *ours = iso_filter_default_rules(&n_ours);
    for (unsigned i = 0; i < n_ours; i++) {
        const struct verdict *said = &v[ours[i].nr];
        bool kept = said->named ? said->allowed || said->by_argument : allows;
        if (kept || ours[i].action != ISO_FILTER_ALLOW)
            rules[n++] = ours[i];
        else if (said->error != 0)
            rules[n++] = (struct iso_filter_rule){ .nr = ours[i].nr, .error = said->error };
    }
    return iso_filter_compile(rules, n, ISO_FILTER_ERRNO, EPERM, &c->filter, err);
}
