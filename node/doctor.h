/* node/doctor.h - what works, what doesn't and what to do, stage by stage. */
#pragma once
#include "node/node_internal.h"

enum doctor_state { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_SKIP };

struct doctor_line {
    const char *stage;
    enum doctor_state state;
    char text[256];
    char cure[256]; /* "" when nothing is to be done */
};

enum { DOCTOR_STAGES = 11 };

/* Looks at everything at once, at the meshes as gathered; nothing is sent anywhere. */
void node__doctor(struct node *n, const struct mesh_status *s,
                  struct doctor_line out[static DOCTOR_STAGES]);
