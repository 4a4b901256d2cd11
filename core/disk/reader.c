// SPDX-License-Identifier: MIT
#include "core/disk/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/base/plant.h"
#include "core/disk/image.h"

#define GRAIN 64
#define SAMPLES 32U
/* Entries into the kernel refused in a row before a ring is given up: about a second. */
#define REFUSALS_MAX 1000000U

/* A read that has been started. */
struct slot {
	uint64_t index;
	struct node_expect expect;
	uint8_t *buffer;
};

struct worker {
	order_u64 handled; /* written by its worker only */
	struct io_uring ring;
	bool has_ring;
	unsigned refusals; /* of the ring, in a row */
	bool try_cached;   /* the file system knows RWF_NOWAIT */
	struct slot slots[READER_DEPTH];
	uint16_t idle[READER_DEPTH]; /* slots that are not in flight */
	unsigned idle_count;
	uint8_t *buffers;
	int result;
	struct rs_error error;
} __attribute__((aligned(ORDER_LINE)));

struct reader {
	struct rs_image *image;
	struct pool *pool;
	enum reader_io io;
	unsigned worker_count;
	struct worker *workers;
	const struct reader_pass *pass;
	struct pool_range range;
	order_u32 canceled; /* only ever set */
	order_u32 failed;   /* a worker has ended with an error: the others need not go on */
};

/* Whether the device, or the one that the file lies on, has a moving head. */
static bool device_rotates(const struct device *device)
{
	struct stat about;
	char path[96];
	char answer = '0';
	dev_t number;
	int fd;

	if (fstat(device->fd, &about))
		return false;
	number = S_ISBLK(about.st_mode) ? about.st_rdev : about.st_dev;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/rotational", major(number),
		 minor(number));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		/* A partition: the queue is that of the whole disk. */
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../queue/rotational",
			 major(number), minor(number));
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return false;
	if (read(fd, &answer, 1) != 1)
		answer = '0';
	close(fd);
	return answer == '1';
}

static bool is_cached(const struct reader *reader, const struct node_expect *expect)
{
	const struct device *device;
	struct chunk_place place;
	char byte;
	struct iovec piece = { &byte, 1 };

	return image_place(reader->image, expect->bytenr, 0, &device, &place) &&
	       preadv2(device->fd, &piece, 1, (off_t)place.physical, RWF_NOWAIT) == 1;
}

bool reader_wants_address_order(const struct reader *reader, const struct reader_pass *pass)
{
	const struct device_set *devices = &reader->image->devices;
	bool rotates = false;
	uint64_t cached = 0;
	uint64_t samples = pass->count < SAMPLES ? pass->count : SAMPLES;
	uint64_t at;

	for (at = 0; at < devices->count; at++)
		rotates |= device_rotates(&devices->devices[at]);
	if (!rotates || reader->io == READER_IO_PREAD || !samples)
		return false;
	for (at = 0; at < samples; at++) {
		struct node_expect expect =
			pass->expect(pass->argument, pass->count / samples * at);

		cached += is_cached(reader, &expect);
	}
	return cached * 10 < samples * 9;
}

static void worker_reset(struct worker *worker)
{
	unsigned at;

	for (at = 0; at < READER_DEPTH; at++)
		worker->idle[at] = (uint16_t)at;
	worker->idle_count = READER_DEPTH;
	worker->result = 0;
	worker->error = (struct rs_error)RS_ERROR_INIT;
}

static int worker_init(struct worker *worker, const struct rs_image *image, enum reader_io io)
{
	uint32_t bytes = image->rules.node_bytes;
	unsigned at;

	worker->buffers = alloc_aligned(4096, READER_DEPTH, bytes);
	if (!worker->buffers)
		return -ENOMEM;
	for (at = 0; at < READER_DEPTH; at++)
		worker->slots[at].buffer = worker->buffers + (size_t)at * bytes;
	/* What is mounted is read past the page cache. */
	worker->try_cached = io == READER_IO_AUTO && !image->direct;
	/* Where the kernel or a sandbox refuses a ring, waiting reads do. */
	if (io != READER_IO_PREAD)
		worker->has_ring = !io_uring_queue_init(READER_DEPTH, &worker->ring, 0);
	worker_reset(worker);
	return 0;
}

/* A tmpfs does not know RWF_NOWAIT, and has nothing to wait for either. */
static bool all_in_memory(const struct rs_image *image)
{
	size_t at;

	for (at = 0; at < image->devices.count; at++) {
		struct statfs about;

		if (fstatfs(image->devices.devices[at].fd, &about) || about.f_type != TMPFS_MAGIC)
			return false;
	}
	return true;
}

int reader_create(struct rs_image *image, struct pool *pool, enum reader_io io, struct reader **out,
		  struct rs_error *error)
{
	struct reader *reader = alloc_zeroed(1, sizeof(*reader));
	unsigned at;

	*out = NULL;
	if (!reader)
		return error_no_memory(error, "the reader");
	if (io == READER_IO_AUTO && all_in_memory(image))
		io = READER_IO_PREAD;
	reader->image = image;
	reader->pool = pool;
	reader->io = io;
	reader->worker_count = pool_threads(pool);
	reader->workers = alloc_aligned(ORDER_LINE, reader->worker_count, sizeof(struct worker));
	if (!reader->workers)
		goto no_memory;
	for (at = 0; at < reader->worker_count; at++)
		if (worker_init(&reader->workers[at], image, io))
			goto no_memory;
	*out = reader;
	return 0;

no_memory:
	reader_destroy(reader);
	return error_no_memory(error, "the reader's buffers");
}

void reader_destroy(struct reader *reader)
{
	unsigned at;

	if (!reader)
		return;
	for (at = 0; reader->workers && at < reader->worker_count; at++) {
		if (reader->workers[at].has_ring)
			io_uring_queue_exit(&reader->workers[at].ring);
		alloc_free(reader->workers[at].buffers);
	}
	alloc_free(reader->workers);
	alloc_free(reader);
}

struct pool *reader_pool(const struct reader *reader)
{
	return reader->pool;
}

void reader_cancel(struct reader *reader)
{
	/* Relaxed: a flag on its own; seen late it costs a few blocks of work. */
	order_store_relaxed(&reader->canceled, 1);
}

uint64_t reader_progress_approx(const struct reader *reader)
{
	uint64_t sum = 0;
	unsigned at;

	/* Relaxed: each counter has one writer, and a stale one makes the bar trail. */
	for (at = 0; at < reader->worker_count; at++)
		sum += order_load_relaxed(&reader->workers[at].handled);
	return sum;
}

/* Relaxed: both flags only ever go from 0 to 1, and nothing is read on their account. */
static bool stopping(const struct reader *reader)
{
	return order_load_relaxed(&reader->canceled) || order_load_relaxed(&reader->failed);
}

static void worker_fail(struct reader *reader, struct worker *worker, int result)
{
	if (!worker->result)
		worker->result = result;
	order_store_relaxed(&reader->failed, 1);
}

static void hand_over(struct reader *reader, unsigned number, const struct slot *slot)
{
	struct worker *worker = &reader->workers[number];
	int ret;

	if (worker->result)
		return;
	window_pass("reader.block");
	ret = reader->pass->block(reader->pass->argument, number, slot->index, slot->buffer,
				  &worker->error);
	if (ret)
		worker_fail(reader, worker, ret);
	/* Relaxed: this worker is the only writer. */
	order_store_relaxed(&worker->handled, order_load_relaxed(&worker->handled) + 1);
}

/* Reads by waiting, from copy `mirror` on; `first` says why those before were refused. */
static void read_waiting(struct reader *reader, unsigned number, struct slot *slot, unsigned mirror,
			 const struct rs_error *first)
{
	struct worker *worker = &reader->workers[number];
	int ret = image_read(reader->image, &slot->expect, mirror, first, slot->buffer,
			     &worker->error);

	if (ret)
		worker_fail(reader, worker, ret);
	else
		hand_over(reader, number, slot);
}

/* `got` bytes of the first copy, or a negative errno, have come in. */
static void block_came_in(struct reader *reader, unsigned number, struct slot *slot, ssize_t got)
{
	struct rs_error why = RS_ERROR_INIT;

	if (got != reader->image->rules.node_bytes) {
		/* A short read or an error: the waiting path says what it is, or finds another copy. */
		read_waiting(reader, number, slot, 0, NULL);
		return;
	}
	if (node_check(&reader->image->rules, &slot->expect, slot->buffer, &why)) {
		read_waiting(reader, number, slot, 1, &why);
		return;
	}
	hand_over(reader, number, slot);
}

/* True if the block was in the page cache, and has been handled. */
static bool read_cached(struct reader *reader, unsigned number, struct slot *slot,
			const struct device *device, const struct chunk_place *place)
{
	struct worker *worker = &reader->workers[number];
	struct iovec piece = { slot->buffer, reader->image->rules.node_bytes };
	ssize_t got;

	if (!worker->try_cached)
		return false;
	got = preadv2(device->fd, &piece, 1, (off_t)place->physical, RWF_NOWAIT);
	if (got < 0 && errno == EOPNOTSUPP)
		worker->try_cached = false;
	if (got != reader->image->rules.node_bytes)
		return false;
	block_came_in(reader, number, slot, got);
	return true;
}

/* Starts reading one block, or reads it at once. */
static void start_read(struct reader *reader, unsigned number, uint64_t index)
{
	struct worker *worker = &reader->workers[number];
	uint16_t at = worker->idle[worker->idle_count - 1];
	struct slot *slot = &worker->slots[at];
	struct io_uring_sqe *entry;
	const struct device *device;
	struct chunk_place place;

	slot->index = index;
	slot->expect = reader->pass->expect(reader->pass->argument, index);
	if (!image_place(reader->image, slot->expect.bytenr, 0, &device, &place) ||
	    place.bytes < reader->image->rules.node_bytes) {
		read_waiting(reader, number, slot, 0, NULL);
		return;
	}
	if (read_cached(reader, number, slot, device, &place))
		return;
	entry = worker->has_ring ? io_uring_get_sqe(&worker->ring) : NULL;
	if (!entry) {
		read_waiting(reader, number, slot, 0, NULL);
		return;
	}
	io_uring_prep_read(entry, device->fd, slot->buffer, reader->image->rules.node_bytes,
			   place.physical);
	io_uring_sqe_set_data64(entry, at);
	worker->idle_count--;
}

/* Handles the reads that have come in. Returns how many. */
static unsigned take_completions(struct reader *reader, unsigned number)
{
	struct worker *worker = &reader->workers[number];
	struct io_uring_cqe *entry;
	unsigned count = 0;

	for (; !io_uring_peek_cqe(&worker->ring, &entry); count++) {
		uint16_t at = (uint16_t)io_uring_cqe_get_data64(entry);
		int got = entry->res;

		io_uring_cqe_seen(&worker->ring, entry);
		block_came_in(reader, number, &worker->slots[at], got);
		worker->idle[worker->idle_count++] = at;
	}
	return count;
}

/*
 * The kernel takes no more from this ring: waiting reads go on in its place, from
 * what was prepared and not submitted. What the kernel has is waited for, since
 * closing the ring would not, and it writes into the buffers.
 */
static void give_up_ring(struct reader *reader, unsigned number)
{
	struct worker *worker = &reader->workers[number];
	unsigned in_flight = READER_DEPTH - worker->idle_count - io_uring_sq_ready(&worker->ring);
	bool idle[READER_DEPTH] = { 0 };
	unsigned at;

	/* Ends: reads that have been started come to an end. */
	while (in_flight) {
		unsigned came = take_completions(reader, number);

		in_flight -= came;
		if (!came)
			sched_yield();
	}
	io_uring_queue_exit(&worker->ring);
	worker->has_ring = false;
	for (at = 0; at < worker->idle_count; at++)
		idle[worker->idle[at]] = true;
	for (at = 0; at < READER_DEPTH; at++) {
		if (idle[at])
			continue;
		if (!stopping(reader))
			read_waiting(reader, number, &worker->slots[at], 0, NULL);
		worker->idle[worker->idle_count++] = (uint16_t)at;
	}
}

/* Submits what was prepared, waits for at least one read and handles what has come in. */
static void collect(struct reader *reader, unsigned number)
{
	struct worker *worker = &reader->workers[number];
	int ret = io_uring_submit_and_wait(&worker->ring, 1);
	bool short_of = ret == -EAGAIN || ret == -EBUSY;

	worker->refusals = short_of ? worker->refusals + 1 : 0;
	if ((ret < 0 && !short_of && ret != -EINTR) || worker->refusals > REFUSALS_MAX) {
		give_up_ring(reader, number);
		return;
	}
	if (ret < 0)
		sched_yield(); /* the kernel is short of something; what is in flight goes on */
	take_completions(reader, number);
}

static void worker_finish(struct reader *reader, unsigned number)
{
	struct worker *worker = &reader->workers[number];
	int ret;

	if (worker->result || !reader->pass->finish)
		return;
	ret = reader->pass->finish(reader->pass->argument, number, &worker->error);
	if (ret)
		worker_fail(reader, worker, ret);
}

static void worker_run(void *argument, unsigned number)
{
	struct reader *reader = argument;
	struct worker *worker = &reader->workers[number];
	uint64_t first = 0;
	uint64_t count = 0;

	for (;;) {
		bool more = !stopping(reader) &&
			    (count || pool_range_take(&reader->range, &first, &count));

		/* Ends: each round starts a read, of which there are so many, or waits one out. */
		if (more && worker->idle_count) {
			start_read(reader, number, first++);
			count--;
		} else if (worker->idle_count < READER_DEPTH) {
			collect(reader, number);
		} else {
			worker_finish(reader, number);
			return;
		}
	}
}

int reader_pass(struct reader *reader, const struct reader_pass *pass,
		const struct pool_watch *watch, struct rs_error *error)
{
	unsigned at;

	for (at = 0; at < reader->worker_count; at++)
		worker_reset(&reader->workers[at]);
	/* Relaxed: the workers are parked, and pool_run shows them all of this. */
	order_store_relaxed(&reader->failed, 0);
	reader->pass = pass;
	pool_range_init(&reader->range, pass->count, pass->grain ? pass->grain : GRAIN);
	pool_run(reader->pool, worker_run, reader, watch);
	/* Relaxed: pool_run has returned, nobody writes it for the pass any more. */
	if (order_load_relaxed(&reader->canceled))
		return error_set(error, -ECANCELED, "interrupted");
	for (at = 0; at < reader->worker_count; at++) {
		if (!reader->workers[at].result)
			continue;
		if (error)
			*error = reader->workers[at].error;
		return reader->workers[at].result;
	}
	return 0;
}
