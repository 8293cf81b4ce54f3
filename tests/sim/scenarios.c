/* Every scenario there is. */
#include "tests/sim/scenario.h"

extern const struct sim_scenario scenario_dht_churn;
extern const struct sim_scenario scenario_dht_liars;
extern const struct sim_scenario scenario_dht_restart;
extern const struct sim_scenario scenario_dht_roster;
extern const struct sim_scenario scenario_dht_scale;
extern const struct sim_scenario scenario_mesh_bootstrap;
extern const struct sim_scenario scenario_mesh_clock;
extern const struct sim_scenario scenario_onion_churn;
extern const struct sim_scenario scenario_onion_kill;
extern const struct sim_scenario scenario_onion_city;
extern const struct sim_scenario scenario_onion_flood;
extern const struct sim_scenario scenario_onion_liars;
extern const struct sim_scenario scenario_world_clock;
extern const struct sim_scenario scenario_world_crash;
extern const struct sim_scenario scenario_world_determinism;
extern const struct sim_scenario scenario_world_lan;
extern const struct sim_scenario scenario_world_nat;
extern const struct sim_scenario scenario_world_partition;
extern const struct sim_scenario scenario_world_streams;

const struct sim_scenario *const sim_scenarios[] = {
    &scenario_world_determinism, &scenario_world_nat,
    &scenario_world_partition,   &scenario_world_crash,
    &scenario_world_clock,       &scenario_world_streams,
    &scenario_world_lan,         &scenario_mesh_bootstrap,
    &scenario_mesh_clock,        &scenario_dht_scale,
    &scenario_dht_churn,         &scenario_dht_restart,
    &scenario_dht_liars,         &scenario_dht_roster,
    &scenario_onion_city,        &scenario_onion_liars,
    &scenario_onion_churn,       &scenario_onion_kill,
    &scenario_onion_flood,       NULL,
};
