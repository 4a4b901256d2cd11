/* SPDX-License-Identifier: MIT */
/*
 * Quota groups of a live forest: which bytes the members of each group reference, and which only they do.
 *
 * Each subvolume has a group of level 0 with its own id. Groups of higher levels have members of lower
 * ones, in any depth, several parents each. What is said of a group is as of the last commit; changed
 * relations count from the next one on.
 *
 * Who may call: a writer is used by the thread that joined it, outside of an operation; all else any
 * thread. Progress: turning quotas on and off, and taking them along in a snapshot, end with a commit;
 * changing groups takes their lock; reading a group takes no lock and waits for nobody.
 */
#ifndef REFSTORM_QUOTA_H
#define REFSTORM_QUOTA_H

#include "refstorm/forest.h"

#ifdef __cplusplus
extern "C" {
#endif

enum rs_quota_engine {
	RS_QUOTA_LEDGER, /* the set ledger */
	/*
	 * Old and new roots of each changed extent, by walking back references. Changed relations, and snapshots
	 * into other groups than their source's, make a rescan necessary, which begins by itself.
	 */
	RS_QUOTA_EXTENT,
};

/* A group's id: its level in the upper 16 bits. */
static inline uint64_t rs_group_id(uint16_t level, uint64_t number)
{
	return (uint64_t)level << 48 | number;
}

/*
 * Turns quotas on: a group for each subvolume, and a rescan that runs in the background, up to whose
 * end the accounts are inconsistent. Where they are on in the image that the forest was opened from, and
 * were not turned off since, its groups and their relations are taken over. 0, also where they are on with this engine already; -EBUSY with
 * another one; -ENOMEM, -EROFS.
 */
RS_API int rs_quota_enable(struct rs_writer *writer, enum rs_quota_engine engine)
	__attribute__((warn_unused_result));

/* All groups go, and a rescan ends. 0, also where quotas are off. */
RS_API int rs_quota_disable(struct rs_writer *writer) __attribute__((warn_unused_result));

enum rs_rescan_state {
	RS_RESCAN_NONE,
	RS_RESCAN_RUNS,
	RS_RESCAN_PAUSED,
};

struct rs_quota_status {
	bool enabled;
	enum rs_quota_engine engine;
	bool inconsistent; /* the numbers are not to be relied on before a rescan has ended */
	enum rs_rescan_state rescan;
	uint64_t rescan_bytenr; /* it has counted what begins below */
	uint64_t rescans;       /* that have come to their end */
	uint64_t differences;   /* extents and groups that these have found wrong, and mended */
	uint64_t generation;    /* of the commit that the accounts are of */
	uint64_t sets;          /* distinct root sets; of the ledger */
	uint64_t set_runs;      /* of all of them together */
	uint64_t set_bytes;     /* of memory, all that the accounts have */
	uint64_t layered;       /* extents that some root references more than once */
};

/* Each number and flag is true of some moment. */
RS_API void rs_quota_status_read(struct rs_forest *forest, struct rs_quota_status *status);

/* 0, or why the accounts are inconsistent other than that they were turned on and are counted for the first time. */
RS_API int rs_quota_reason(struct rs_forest *forest, struct rs_error *error);

/* Groups of level 1 and above. All: -ENOTCONN where quotas are off; -ENOMEM. */

/* -EINVAL: level 0; -EEXIST. */
RS_API int rs_group_create(struct rs_forest *forest, uint64_t id)
	__attribute__((warn_unused_result));
/* Of level 0: one whose subvolume is gone. -ENOENT; -EBUSY: it has members, or its subvolume. */
RS_API int rs_group_remove(struct rs_forest *forest, uint64_t id)
	__attribute__((warn_unused_result));
/* -EINVAL: the member's level is not below the parent's; -ENOENT: one is missing; -EEXIST: it is one. */
RS_API int rs_group_assign(struct rs_forest *forest, uint64_t member, uint64_t parent)
	__attribute__((warn_unused_result));
/* -EINVAL as above; -ENOENT: one is missing, or it is no member. */
RS_API int rs_group_unassign(struct rs_forest *forest, uint64_t member, uint64_t parent)
	__attribute__((warn_unused_result));

/* Bytes of extents, logical, each once. */
struct rs_group_usage {
	uint64_t rfer;      /* of what some member references */
	uint64_t excl;      /* of what only members do */
	uint64_t data_rfer; /* the part of them that is no tree block */
	uint64_t data_excl;
	uint64_t rfer_compressed; /* extents count as they are on disk: the same */
	uint64_t excl_compressed;
};

/* All numbers of one commit. 0, -ENOENT, -ENOTCONN. */
RS_API int rs_group_read(struct rs_forest *forest, uint64_t id, struct rs_group_usage *usage)
	__attribute__((warn_unused_result));

/* The next id above `*id`, in it. 0; -ENOENT: there is none; -ENOTCONN. */
RS_API int rs_group_next(struct rs_forest *forest, uint64_t *id)
	__attribute__((warn_unused_result));

/*
 * The groups that it is a member of, ascending, as they are now: up to `room` of them; `*count` is how
 * many there are. 0, -ENOENT, -ENOTCONN, -ENOMEM.
 */
RS_API int rs_group_parents(struct rs_forest *forest, uint64_t id, uint64_t *parents, size_t room,
			    size_t *count) __attribute__((warn_unused_result));

/*
 * rs_subvol_snapshot, and the new subvolume's group is a member of these. Besides: -EINVAL: level 0;
 * -ENOENT: there is no such group. Nothing is asked of groups where quotas are off.
 */
RS_API int rs_subvol_snapshot_into(struct rs_writer *writer, struct rs_subvol *source,
				   const char *name, bool read_only, const uint64_t *groups,
				   size_t count, struct rs_subvol **out)
	__attribute__((warn_unused_result));

/*
 * Counts everything again, in the background, beside writers: what is wrong is mended, and counted as a difference.
 * The numbers stay in use meanwhile, unless they are inconsistent: then they are 0 until it ends. All of rescans:
 * -ENOTCONN where quotas are off. -EINPROGRESS: one runs, or is paused, that did not begin by itself.
 */
RS_API int rs_rescan_start(struct rs_forest *forest) __attribute__((warn_unused_result));
/* Until none runs. 0; -ECANCELED: it was cancelled; -EAGAIN: it is paused; -ENOMEM: it has ended for that. */
RS_API int rs_rescan_wait(struct rs_forest *forest) __attribute__((warn_unused_result));
/* -EINVAL: none runs (resume: none is paused). */
RS_API int rs_rescan_pause(struct rs_forest *forest) __attribute__((warn_unused_result));
RS_API int rs_rescan_resume(struct rs_forest *forest) __attribute__((warn_unused_result));
/* The accounts are inconsistent from now on if they were when it began. */
RS_API int rs_rescan_cancel(struct rs_forest *forest) __attribute__((warn_unused_result));

/*
 * What deleting these subvolumes, all of them, would free: bytes of extents that no other one
 * references, as of the last commit. What is named twice counts once. 0; -ENOENT: no such subvolume;
 * -EAGAIN: inconsistent; -ENOTCONN; -EOPNOTSUPP: not of this engine; -ENOMEM.
 */
RS_API int rs_reclaimable(struct rs_forest *forest, const uint64_t *subvols, size_t count,
			  uint64_t *bytes) __attribute__((warn_unused_result));

#ifdef __cplusplus
}
#endif

#endif /* REFSTORM_QUOTA_H */
