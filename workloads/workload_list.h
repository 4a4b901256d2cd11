/* SPDX-License-Identifier: MIT */
/* The workloads, one file each; workload.c has them in a list, which others use. */
#ifndef REFSTORM_WORKLOADS_WORKLOAD_LIST_H
#define REFSTORM_WORKLOADS_WORKLOAD_LIST_H

#include "workloads/workload.h"

extern const struct rs_workload workload_overwrite;
extern const struct rs_workload workload_snapshot_storm;
extern const struct rs_workload workload_clone_fan;
extern const struct rs_workload workload_defrag_shared;
extern const struct rs_workload workload_snapshot_drop;
extern const struct rs_workload workload_rescan_under_load;
extern const struct rs_workload workload_mixed;

#endif /* REFSTORM_WORKLOADS_WORKLOAD_LIST_H */
