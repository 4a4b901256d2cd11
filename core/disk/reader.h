/* SPDX-License-Identifier: MIT */
/*
 * Reading many blocks with a pool of workers: each block once, checked, with
 * enough reads in flight to keep a device busy.
 *
 * A block that is in the page cache is read at once (preadv2 with RWF_NOWAIT)
 * and handled while it is in the CPU's own cache. One that is not goes to the
 * worker's io_uring, where up to READER_DEPTH wait at a time; where io_uring is
 * not to be had, or fails on the way, the worker reads and waits.
 *
 * Who may call: reader_pass from one thread at a time, not from a worker;
 * reader_cancel from any thread; reader_progress likewise.
 * What a worker shares on the way: one take from the common range for every
 * `grain` blocks; its counters stand on a line of its own.
 */
#ifndef REFSTORM_DISK_READER_H
#define REFSTORM_DISK_READER_H

#include "core/base/pool.h"
#include "core/disk/node.h"

struct rs_image;
struct reader;

#define READER_DEPTH 32

/* One round over `count` blocks. The functions are called on the workers. */
struct reader_pass {
	uint64_t count;
	uint64_t grain; /* a worker takes so many neighbouring blocks at a time; 0 for a usual number */
	void *argument;
	/* What block number `index` must be. */
	struct node_expect (*expect)(void *argument, uint64_t index);
	/* The block, good and checked, in memory that is valid during the call. 0 or a negative errno. */
	int (*block)(void *argument, unsigned worker, uint64_t index, const uint8_t *block,
		     struct rs_error *error);
	/* If not NULL: called on each worker behind its last block, unless it failed. */
	int (*finish)(void *argument, unsigned worker, struct rs_error *error);
};

enum reader_io {
	READER_IO_AUTO,  /* as described above */
	READER_IO_PREAD, /* reads that wait, in each worker */
	READER_IO_RING,  /* every block through io_uring */
};

/* `image` and `pool` must outlive the reader. Returns 0 or -ENOMEM. */
int reader_create(struct rs_image *image, struct pool *pool, enum reader_io io, struct reader **out,
		  struct rs_error *error) __attribute__((warn_unused_result));
void reader_destroy(struct reader *reader);

/*
 * Hands every block of the pass to pass->block, in no order that can be relied
 * on. Returns 0, the first error of a block or of pass->block (the pass then ends
 * early), or -ECANCELED.
 */
int reader_pass(struct reader *reader, const struct reader_pass *pass,
		const struct pool_watch *watch, struct rs_error *error)
	__attribute__((warn_unused_result));

/* The running pass and all later ones end with -ECANCELED. Safe in a signal handler. */
void reader_cancel(struct reader *reader);

/* Blocks handled since the reader was made. May trail by what is in work. */
uint64_t reader_progress_approx(const struct reader *reader);

struct pool *reader_pool(const struct reader *reader);

/*
 * Whether blocks are best asked for in the order of their addresses: true where
 * some device has a moving head and what is looked for is not in memory already,
 * as a sample of the pass tells.
 */
bool reader_wants_address_order(const struct reader *reader, const struct reader_pass *pass);

#endif /* REFSTORM_DISK_READER_H */
