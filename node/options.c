#include "node/options.h"

#include <getopt.h>
#include <stddef.h>

const char node_options_help[] =
    "usage: cyxd [--config FILE] [--data-dir DIR] [--role-dir DIR] [--user USER] [-v]\n"
    "       cyxd --check | --print-config | --version | --help\n"
    "\n"
    "Runs a node of the mesh. Without a configuration every setting has a default.\n"
    "\n"
    "  -c, --config FILE    settings (TOML); default /etc/cyxd/cyxd.toml if it exists\n"
    "  -d, --data-dir DIR   keys and stores; goes before `data_dir`\n"
    "      --role-dir DIR   roles' shared objects; goes before `role_dir`\n"
    "  -u, --user USER      user to become when started as root; goes before `user`\n"
    "  -v, --verbose        log at level debug\n"
    "      --check          check the configuration, print every complaint or \"ok\"\n"
    "      --print-config   print a commented configuration with every default\n"
    "      --version        print the version\n"
    "  -h, --help           print this\n"
    "\n"
    "See cyxd(8), cyxd.toml(5) and cyx(1).\n";

enum { OPT_ROLE_DIR = 256, OPT_CHECK, OPT_PRINT_CONFIG, OPT_VERSION };

static const struct option options[] = {
    { "config", required_argument, NULL, 'c' },
    { "data-dir", required_argument, NULL, 'd' },
    { "role-dir", required_argument, NULL, OPT_ROLE_DIR },
    { "user", required_argument, NULL, 'u' },
    { "verbose", no_argument, NULL, 'v' },
    { "check", no_argument, NULL, OPT_CHECK },
    { "print-config", no_argument, NULL, OPT_PRINT_CONFIG },
    { "version", no_argument, NULL, OPT_VERSION },
    { "help", no_argument, NULL, 'h' },
    { 0 },
};

static bool take(struct node_options *o, int c)
{
    switch (c) {
    case 'c':
        o->config = optarg;
        return true;
    case 'd':
        o->data_dir = optarg;
        return true;
    case OPT_ROLE_DIR:
        o->role_dir = optarg;
        return true;
    case 'u':
        o->user = optarg;
        return true;
    case 'v':
        o->is_verbose = true;
        return true;
    case OPT_CHECK:
        o->action = NODE_CHECK;
        return true;
    case OPT_PRINT_CONFIG:
        o->action = NODE_PRINT_CONFIG;
        return true;
    case OPT_VERSION:
        o->action = NODE_VERSION;
        return true;
    case 'h':
        o->action = NODE_HELP;
        return true;
    default:
        return false;
    }
}

int node_options_parse(struct node_options *out, int argc, char *const *argv, struct cyx_err *err)
{
    struct node_options o = { .action = NODE_RUN };
    int c;
    optind = 0; /* from the start, also when called twice (tests) */
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":c:d:u:vh", options, NULL)) != -1) {
        if (c == ':')
            return cyx_fail(err, CYX_EINVAL, "%s wants a value", argv[optind - 1]);
        if (!take(&o, c))
            return cyx_fail(err, CYX_EINVAL, "unknown option %s", argv[optind - 1]);
    }
    if (optind < argc)
        return cyx_fail(err, CYX_EINVAL, "unexpected argument \"%s\"", argv[optind]);
    *out = o;
    return 0;
}
