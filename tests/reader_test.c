/* SPDX-License-Identifier: MIT */
#include "core/disk/reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/order.h"
#include "tests/support/image_file.h"

#define OWNER 300
#define MANY 3000

/* Blocks of one level, read by some workers. */
struct fixture {
	struct image_build *build;
	struct image_file file;
	struct rs_image *image;
	struct pool *pool;
	struct reader *reader;
	unsigned count;
	uint64_t *bytenrs;

	order_u32 *seen; /* of each block */
	order_u32 blocks;
	order_u32 finished;
	int answer; /* of on_block for block number answer_at */
	uint64_t answer_at;
	int finish_answer;
};

static struct node_expect expect(void *argument, uint64_t index)
{
	const struct fixture *fixture = argument;

	return (struct node_expect){
		.bytenr = fixture->bytenrs[index],
		.generation = IMAGE_GENERATION,
		.owner = NODE_OWNER_SUBVOLUME,
		.first_key = { .objectid = index + 1, .type = 1 },
	};
}

/* Relaxed throughout: counters that are read when the pass has returned. */
static int on_block(void *argument, unsigned worker, uint64_t index, const uint8_t *block,
		    struct rs_error *error)
{
	struct fixture *fixture = argument;

	order_fetch_add_relaxed(&fixture->seen[index], 1);
	order_fetch_add_relaxed(&fixture->blocks, 1);
	if (worker >= pool_threads(fixture->pool) || node_key(block, 0).objectid != index + 1 ||
	    node_item_data(block, 0)[0] != (uint8_t)index)
		return -EPROTO;
	if (fixture->answer && index == fixture->answer_at) {
		snprintf(error->what, sizeof(error->what), "block %u", (unsigned)index);
		return fixture->answer;
	}
	return 0;
}

static int on_finish(void *argument, unsigned worker, struct rs_error *error)
{
	struct fixture *fixture = argument;

	(void)error;
	(void)worker;
	order_fetch_add_relaxed(&fixture->finished, 1);
	return fixture->finish_answer;
}

static void begin(struct fixture *fixture, unsigned count, enum image_profile profile, bool on_disk)
{
	*fixture = (struct fixture){ .build = image_build_create(4096, profile), .count = count };
	fixture->bytenrs = calloc(count + 1, sizeof(*fixture->bytenrs));
	fixture->seen = calloc(count + 1, sizeof(*fixture->seen));
	assert_true(fixture->bytenrs && fixture->seen);
	for (unsigned i = 0; i < count; i++) {
		uint8_t byte = (uint8_t)i;
		struct image_item item = { { .objectid = i + 1, .type = 1 }, &byte, 1 };
		uint8_t *block = image_build_block(fixture->build, OWNER, 0);

		assert_true(image_leaf_add(fixture->build, block, &item));
		fixture->bytenrs[i] = image_bytenr(block);
	}
	image_build_finish(fixture->build);
	image_file_write(&fixture->file, fixture->build, on_disk);
	fixture->image = image_file_open(&fixture->file);
}

static void begin_reader(struct fixture *fixture, unsigned threads, enum reader_io io)
{
	struct rs_error error = RS_ERROR_INIT;

	assert_int_equal(pool_create(threads, &fixture->pool, &error), 0);
	assert_int_equal(reader_create(fixture->image, fixture->pool, io, &fixture->reader, &error),
			 0);
	assert_ptr_equal(reader_pool(fixture->reader), fixture->pool);
}

static void end_reader(struct fixture *fixture)
{
	reader_destroy(fixture->reader);
	pool_destroy(fixture->pool);
}

static void end(struct fixture *fixture)
{
	rs_image_close(fixture->image);
	image_file_close(&fixture->file);
	image_build_free(fixture->build);
	free(fixture->bytenrs);
	free(fixture->seen);
}

static int read_all(struct fixture *fixture, uint64_t grain, const struct pool_watch *watch,
		    struct rs_error *error)
{
	struct reader_pass pass = {
		.count = fixture->count,
		.grain = grain,
		.argument = fixture,
		.expect = expect,
		.block = on_block,
		.finish = on_finish,
	};

	memset(fixture->seen, 0, (fixture->count + 1) * sizeof(*fixture->seen));
	order_store_relaxed(&fixture->blocks, 0);
	order_store_relaxed(&fixture->finished, 0);
	*error = (struct rs_error)RS_ERROR_INIT;
	return reader_pass(fixture->reader, &pass, watch, error);
}

static void all_once(const struct fixture *fixture)
{
	for (unsigned i = 0; i < fixture->count; i++)
		assert_int_equal(order_load_relaxed(&fixture->seen[i]), 1);
	assert_int_equal(order_load_relaxed(&fixture->blocks), fixture->count);
	assert_int_equal(order_load_relaxed(&fixture->finished), pool_threads(fixture->pool));
}

static void good(struct fixture *fixture, uint64_t grain)
{
	struct rs_error error;

	if (read_all(fixture, grain, NULL, &error))
		fail_msg("%s: %s", error.where, error.what);
	all_once(fixture);
}

static void test_once(void **state)
{
	static const unsigned counts[] = { 0, 1, 2, 31, 32, 33, 65, 500, MANY };
	static const unsigned threads[] = { 1, 2, 3, 8 };

	(void)state;
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (unsigned disk = 0; disk < 2; disk++) {
			struct fixture fixture;

			begin(&fixture, counts[i], IMAGE_SINGLE, disk);
			for (unsigned j = 0; j < 12; j++) {
				begin_reader(&fixture, threads[j / 3], (enum reader_io)(j % 3));
				if (disk)
					image_file_evict(&fixture.file);
				good(&fixture, 0);
				good(&fixture, 1); /* a second pass, now from the cache */
				good(&fixture, 1000);
				assert_int_equal(reader_progress_approx(fixture.reader),
						 3 * fixture.count);
				end_reader(&fixture);
			}
			end(&fixture);
		}
	}
}

static void warnings_of(struct fixture *fixture, unsigned blocks)
{
	assert_int_equal(rs_image_warning_count(fixture->image), blocks);
	for (unsigned i = 0; i < blocks; i++)
		assert_non_null(strstr(rs_image_warning(fixture->image, i),
				       ": checksum does not match; copy 2 of 2 is good"));
}

static void test_copies(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		enum image_profile profile = i & 1 ? IMAGE_RAID1 : IMAGE_DUP;
		struct fixture fixture;
		struct rs_error error;

		begin(&fixture, 200, profile, i / 6);
		begin_reader(&fixture, 3, (enum reader_io)(i / 2 % 3));
		image_file_damage(&fixture.file, fixture.bytenrs[7], 0);
		image_file_damage(&fixture.file, fixture.bytenrs[199], 0);
		image_file_damage(&fixture.file, fixture.bytenrs[9], 1); /* nobody looks */
		if (i / 6)
			image_file_evict(&fixture.file);
		good(&fixture, 0);
		warnings_of(&fixture, 2);
		image_file_damage(&fixture.file, fixture.bytenrs[7], 1);
		assert_int_equal(read_all(&fixture, 0, NULL, &error), -EUCLEAN);
		assert_int_equal(error.address, fixture.bytenrs[7]);
		assert_string_equal(error.what,
				    "checksum does not match (none of 2 copies is good)");
		end_reader(&fixture);
		end(&fixture);
	}
}

static void test_short_file(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		struct fixture fixture;
		struct rs_error error;
		uint64_t cut;

		begin(&fixture, 100, i & 1 ? IMAGE_RAID1 : IMAGE_SINGLE, i / 6);
		begin_reader(&fixture, 2, (enum reader_io)(i / 2 % 3));
		/* In the middle of the last block: of the first copy only. */
		cut = fixture.bytenrs[99] + 100;
		assert_int_equal(ftruncate(fixture.file.fds[0], (off_t)cut), 0);
		if (i & 1) {
			good(&fixture, 0);
			assert_int_equal(rs_image_warning_count(fixture.image), 1);
			assert_non_null(strstr(rs_image_warning(fixture.image, 0), "ends at byte"));
		} else {
			assert_int_equal(read_all(&fixture, 0, NULL, &error), -EIO);
			assert_int_equal(error.address, fixture.bytenrs[99]);
		}
		end_reader(&fixture);
		end(&fixture);
	}
}

static void test_bad_block(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct fixture fixture;
		struct rs_error error;

		begin(&fixture, MANY, IMAGE_SINGLE, i / 3);
		begin_reader(&fixture, 2, (enum reader_io)(i % 3));
		image_file_damage(&fixture.file, fixture.bytenrs[MANY / 2], 0);
		assert_int_equal(read_all(&fixture, 0, NULL, &error), -EUCLEAN);
		assert_int_equal(error.address, fixture.bytenrs[MANY / 2]);
		assert_int_equal(order_load_relaxed(&fixture.seen[MANY / 2]), 0);
		assert_true(order_load_relaxed(&fixture.finished) < 2);
		/* Nowhere at all. */
		image_file_damage(&fixture.file, fixture.bytenrs[MANY / 2], 0);
		fixture.bytenrs[5] = UINT64_C(1) << 60;
		assert_int_equal(read_all(&fixture, 0, NULL, &error), -EUCLEAN);
		assert_int_equal(error.address, UINT64_C(1) << 60);
		end_reader(&fixture);
		end(&fixture);
	}
}

static void test_callback_error(void **state)
{
	static const int answers[] = { -ENOMEM, -EUCLEAN, -E2BIG };
	struct fixture fixture;
	struct rs_error error;

	(void)state;
	begin(&fixture, MANY, IMAGE_SINGLE, true);
	for (unsigned i = 0; i < 9; i++) {
		begin_reader(&fixture, 2, (enum reader_io)(i % 3));
		image_file_evict(&fixture.file);
		fixture.answer = answers[i / 3];
		fixture.answer_at = i == 8 ? MANY - 1 : i * 11;
		assert_int_equal(read_all(&fixture, 0, NULL, &error), fixture.answer);
		assert_int_equal(strncmp(error.what, "block ", 6), 0);
		/* The others stop soon. */
		if (i < 8)
			assert_true(order_load_relaxed(&fixture.blocks) < MANY);
		/* And the reader works again. */
		fixture.answer = 0;
		good(&fixture, 0);
		fixture.finish_answer = -ENOMEM;
		assert_int_equal(read_all(&fixture, 0, NULL, &error), -ENOMEM);
		fixture.finish_answer = 0;
		end_reader(&fixture);
	}
	end(&fixture);
}

static void on_tick(void *argument)
{
	struct fixture *fixture = argument;

	if (reader_progress_approx(fixture->reader))
		reader_cancel(fixture->reader);
}

/* Slow enough that a tick comes in between. */
static int on_block_slow(void *argument, unsigned worker, uint64_t index, const uint8_t *block,
			 struct rs_error *error)
{
	usleep(200);
	return on_block(argument, worker, index, block, error);
}

static void test_cancel(void **state)
{
	struct fixture fixture;
	struct rs_error error;

	(void)state;
	begin(&fixture, MANY, IMAGE_SINGLE, true);
	for (unsigned i = 0; i < 3; i++) {
		struct pool_watch watch = { 1000000, on_tick, &fixture };
		struct reader_pass pass = {
			.count = MANY,
			.argument = &fixture,
			.expect = expect,
			.block = on_block_slow,
		};

		begin_reader(&fixture, 2, (enum reader_io)i);
		order_store_relaxed(&fixture.blocks, 0);
		error = (struct rs_error)RS_ERROR_INIT;
		assert_int_equal(reader_pass(fixture.reader, &pass, &watch, &error), -ECANCELED);
		assert_int_equal(error.code, -ECANCELED);
		assert_in_range(order_load_relaxed(&fixture.blocks), 1, MANY - 1);
		/* For good. */
		assert_int_equal(read_all(&fixture, 0, NULL, &error), -ECANCELED);
		assert_int_equal(order_load_relaxed(&fixture.blocks), 0);
		end_reader(&fixture);
	}
	end(&fixture);
}

static void test_no_memory(void **state)
{
	struct rs_error error = RS_ERROR_INIT;
	struct reader *reader;
	struct fixture fixture;
	unsigned nth;
	int ret = -ENOMEM;

	(void)state;
	begin(&fixture, 10, IMAGE_SINGLE, false);
	begin_reader(&fixture, 3, READER_IO_RING);
	for (nth = 1; ret; nth++) {
		alloc_fail_arm(nth, 0);
		ret = reader_create(fixture.image, fixture.pool, READER_IO_RING, &reader, &error);
		alloc_fail_arm(0, 0);
		assert_true(!ret || (ret == -ENOMEM && !reader && error.code == -ENOMEM));
	}
	assert_int_equal(nth, 7); /* the reader, its workers, and the buffers of three */
	reader_destroy(reader);
	reader_destroy(NULL);
	end_reader(&fixture);
	end(&fixture);
}

#define FILTER_CALL(number, errno_value)                                                           \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1),                                       \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (errno_value))

/* io_uring_setup or io_uring_enter fails from now on. */
static bool refuse_call(uint32_t number, uint32_t errno_value)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		FILTER_CALL(number, errno_value),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static const struct {
	uint32_t number;
	uint32_t errno_value;
} refusals[] = {
	{ SYS_io_uring_setup, EPERM },  { SYS_io_uring_setup, ENOSYS },
	{ SYS_io_uring_setup, ENOMEM }, { SYS_io_uring_enter, EPERM },
	{ SYS_io_uring_enter, EAGAIN }, { SYS_io_uring_enter, EBUSY },
};

static int run_refused(unsigned which)
{
	struct fixture fixture;

	begin(&fixture, 300, IMAGE_DUP, true);
	image_file_damage(&fixture.file, fixture.bytenrs[7], 0);
	image_file_evict(&fixture.file);
	if (!refuse_call(refusals[which].number, refusals[which].errno_value))
		return 77;
	begin_reader(&fixture, 2, which % 2 ? READER_IO_RING : READER_IO_AUTO);
	image_file_evict(&fixture.file);
	good(&fixture, 0);
	good(&fixture, 0);
	warnings_of(&fixture, 2); /* one of each pass */
	end_reader(&fixture);
	end(&fixture);
	return 0;
}

/* In programs of their own: what is refused stays so, and threads do not survive a fork. */
static void test_ring_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		pid_t pid = fork();
		char number[] = { (char)('0' + i), '\0' };
		int status;

		assert_true(pid >= 0);
		if (!pid) {
			execl("/proc/self/exe", "reader_test", number, NULL);
			_exit(126);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 77) {
			print_message("no seccomp here: a refused io_uring is not tested\n");
			return;
		}
		if (WEXITSTATUS(status))
			fail_msg("case %u: %d", i, WEXITSTATUS(status));
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once),           cmocka_unit_test(test_copies),
		cmocka_unit_test(test_short_file),     cmocka_unit_test(test_bad_block),
		cmocka_unit_test(test_callback_error), cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_ring_refused),
	};

	if (argc > 1)
		return run_refused((unsigned)(argv[1][0] - '0'));
	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
