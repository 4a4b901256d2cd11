/* SPDX-License-Identifier: MIT */
/*
 * What the workloads share: subvolumes of their own ("volumes") with a file each, whose blocks are an extent
 * each; snapshots of them, of which there are always as many; commits now and then; and a check that all of
 * it is there.
 *
 * Callers: work_create to work_snapshots_take, and work_check and work_destroy, one thread while no other one
 * is there; what takes a struct workload_thread, that thread. A slot for a snapshot is emptied by one thread
 * only, however many replace it at once: each handle is deleted once.
 */
#ifndef REFSTORM_WORKLOADS_WORKLOAD_WORK_H
#define REFSTORM_WORKLOADS_WORKLOAD_WORK_H

#include "core/base/order.h"
#include "workloads/workload.h"

#define WORK_BLOCK UINT64_C(4096)
#define WORK_UNKNOWN UINT64_MAX
#define WORK_OVERWRITES_MAX 64U /* before a snapshot, while work is prepared */
/* Of random numbers, beside those of threads, which have their index. */
#define WORK_PREPARE_STREAM UINT64_C(1000000)

/* On lines of its own: threads that each have one do not meet. */
struct work_volume {
	struct rs_subvol *subvol;
	uint64_t inode;          /* of its file */
	uint64_t blocks;         /* of that file */
	uint64_t data_bytes;     /* that its group must have at rest; WORK_UNKNOWN */
	uint64_t snapshot_bytes; /* the same of each of its snapshots */
	uint64_t count;          /* of the one thread that works here */
	unsigned snapshots;      /* how many there are; 0: a new one is deleted at once */
	order_ptr *slots;        /* struct rs_subvol *, the snapshots */
	order_u64 taken;         /* says which slot is the next */
} __attribute__((aligned(ORDER_LINE)));

struct work {
	struct workload *workload;
	struct work_volume *volumes;
	unsigned volume_count;
	uint64_t subvols;   /* that there must be at rest */
	unsigned committer; /* index of the thread that commits */
	/* Apart from what all threads read in each step. */
	uint64_t waiting
		__attribute__((aligned(ORDER_LINE))); /* its operations since it last did */
	order_u64 names;                              /* that have been tried */
};

/* options.blocks, or the default. */
uint64_t work_blocks(const struct workload *workload);

/*
 * So many volumes, their files empty, and room for the snapshots that the options ask for, shared out to the
 * volumes from number `first` on. 0 or a negative errno; `*out` is there to be destroyed unless it is NULL.
 */
int work_create(struct workload *workload, struct rs_writer *writer, unsigned volumes,
		unsigned first, struct work **out) __attribute__((warn_unused_result));
/* NULL is allowed. What it made in the forest stays there. */
void work_destroy(struct work *work);

/* Writes the file of a volume, block by block, and commits. */
int work_fill(struct work *work, struct rs_writer *writer, struct work_volume *volume,
	      uint64_t blocks) __attribute__((warn_unused_result));

/* An overwrite of one block, before a snapshot. */
typedef int work_change_fn(struct work *work, struct rs_writer *writer, struct work_volume *volume,
			   struct random_state *random);
int work_change(struct work *work, struct rs_writer *writer, struct work_volume *volume,
		struct random_state *random) __attribute__((warn_unused_result));

/* Takes all snapshots, in turn of all volumes, with a few changes before each. `change` may be NULL. */
int work_snapshots_take(struct work *work, struct rs_writer *writer, work_change_fn *change)
	__attribute__((warn_unused_result));

/* Volumes that are filled, a share of the blocks each, with their snapshots; is workload->data. For prepare. */
int work_prepare(struct workload *workload, struct rs_writer *writer, unsigned volumes)
	__attribute__((warn_unused_result));

/* Whether a step has reason to go on: with some engines an operation alone takes milliseconds. */
static inline bool work_goes_on(const struct workload_thread *thread)
{
	/* Relaxed: seen sooner or later. */
	return !order_load_relaxed(&thread->workload->stopping);
}

/* Overwrites a block of the volume's file, by chance; counted as `operation`. */
int work_overwrite(struct workload_thread *thread, const struct work_volume *volume,
		   unsigned operation) __attribute__((warn_unused_result));

/* The slots of the oldest snapshot and of one by chance, for what follows. */
unsigned work_oldest(struct work_volume *volume);
unsigned work_any(struct workload_thread *thread, const struct work_volume *volume);

/* What is in a slot now; NULL: nothing. It may be deleted meanwhile. */
struct rs_subvol *work_snapshot_at(struct work_volume *volume, unsigned slot);

struct work_replace {
	unsigned snapshot; /* operations */
	unsigned removal;
	bool read_only;
};

/* A new snapshot, and what was in the slot is deleted. Helps to take deleted ones apart where they pile up. */
int work_snapshot_replace(struct workload_thread *thread, struct work *work,
			  struct work_volume *volume, unsigned slot,
			  const struct work_replace *replace) __attribute__((warn_unused_result));

/* Commits, counted as `operation`, if this thread does and so many operations more are enough for it. */
int work_commit(struct workload_thread *thread, struct work *work, uint64_t operations,
		unsigned operation) __attribute__((warn_unused_result));

/* Commits, and checks that volumes and snapshots are there, no more, and that their groups have their bytes. */
int work_check(struct work *work, struct rs_writer *writer, struct rs_error *error)
	__attribute__((warn_unused_result));

/* Where workload->data is a struct work: check and finish. */
int work_data_check(struct workload *workload, struct rs_writer *writer, struct rs_error *error)
	__attribute__((warn_unused_result));
void work_data_finish(struct workload *workload);

#endif /* REFSTORM_WORKLOADS_WORKLOAD_WORK_H */
