/* SPDX-License-Identifier: MIT */
#include "workloads/script_kernel_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/error.h"

#define WRITE_MAX (UINT64_C(128) << 20)
#define DEDUPE_STEP (UINT64_C(16) << 20) /* a request does no more at once */
#define DEFRAG_BELOW (256U << 10)
#define DROP_WAIT_NS (UINT64_C(600) * 1000000000)
#define DROP_POLL_NS 2000000

static const char *subvol_name(const struct script_kernel *kernel, uint32_t subvol)
{
	return script_subvol_name(kernel->script, subvol);
}

/* A file descriptor or a negative errno. */
static int open_place(const struct script_kernel *kernel, uint32_t number, int flags)
{
	const struct script_place *place = script_place(kernel->script, number);
	char path[PATH_MAX];
	int length = snprintf(path, sizeof(path), "%s/%s", subvol_name(kernel, place->subvol),
			      script_file_name(kernel->script, place->file));
	int fd;

	if (length >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = openat(kernel->directory, path, flags | O_CLOEXEC | O_NOFOLLOW, 0644);
	return fd < 0 ? -errno : fd;
}

int script_kernel_subvol_open(const struct script_kernel *kernel, uint32_t subvol)
{
	int fd = openat(kernel->directory, subvol_name(kernel, subvol),
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

static int run_write(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	ssize_t done = 0;
	int fd;

	if (operation->length > WRITE_MAX)
		return -EFBIG;
	fd = open_place(kernel, operation->place, O_WRONLY | O_CREAT | O_DIRECT);
	if (fd < 0)
		return fd;
	if (operation->length)
		done = pwrite(fd, kernel->zeros, operation->length, (off_t)operation->offset);
	if (done < 0)
		return script_kernel_close(fd, -errno);
	/* What is missing would be one extent more. */
	return script_kernel_close(fd, (uint64_t)done == operation->length ? 0 : -EIO);
}

static int run_clone(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	struct file_clone_range range = {
		.src_offset = operation->offset,
		.src_length = operation->length,
		.dest_offset = operation->target_offset,
	};
	int from = open_place(kernel, operation->place, O_RDONLY);
	int to;
	int ret = 0;

	if (from < 0)
		return from;
	to = open_place(kernel, operation->target_place, O_WRONLY | O_CREAT);
	if (to < 0)
		return script_kernel_close(from, to);
	range.src_fd = from;
	/* To the kernel a length of 0 is all that there is. */
	if (operation->length)
		ret = script_kernel_result(ioctl(to, FICLONERANGE, &range));
	close(to);
	return script_kernel_close(from, ret);
}

/* One request; how many bytes it has deduplicated in `*done`. */
static int dedupe_step(int from, int to, uint64_t offset, uint64_t length, uint64_t target_offset,
		       uint64_t *done)
{
	/* A range with one target behind it. */
	alignas(struct file_dedupe_range) unsigned char
		room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
	struct file_dedupe_range *request = (void *)room;

	memset(room, 0, sizeof(room));
	request->src_offset = offset;
	request->src_length = length;
	request->dest_count = 1;
	request->info[0].dest_fd = to;
	request->info[0].dest_offset = target_offset;
	if (ioctl(from, FIDEDUPERANGE, request))
		return -errno;
	if (request->info[0].status == FILE_DEDUPE_RANGE_DIFFERS)
		return -EILSEQ;
	*done = request->info[0].bytes_deduped;
	return request->info[0].status;
}

static int run_dedupe(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	int from = open_place(kernel, operation->place, O_RDONLY);
	uint64_t at = 0;
	int ret = 0;
	int to;

	if (from < 0)
		return from;
	to = open_place(kernel, operation->target_place, O_RDWR);
	if (to < 0)
		return script_kernel_close(from, to);
	while (!ret && at < operation->length) {
		uint64_t left = operation->length - at;
		uint64_t done = 0;

		ret = dedupe_step(from, to, operation->offset + at,
				  left < DEDUPE_STEP ? left : DEDUPE_STEP,
				  operation->target_offset + at, &done);
		if (!ret && !done)
			ret = -EIO;
		at += done;
	}
	close(to);
	return script_kernel_close(from, ret);
}

static int run_truncate(void *thread, const struct script_operation *operation)
{
	int fd = open_place(thread, operation->place, O_WRONLY | O_CREAT);

	return fd < 0 ? fd :
			script_kernel_close(fd, script_kernel_result(
							ftruncate(fd, (off_t)operation->size)));
}

static int allocate(void *thread, const struct script_operation *operation, int flags, int mode)
{
	int fd = open_place(thread, operation->place, flags);
	int ret = 0;

	if (fd < 0)
		return fd;
	if (operation->length)
		ret = fallocate(fd, mode, (off_t)operation->offset, (off_t)operation->length);
	return script_kernel_close(fd, script_kernel_result(ret));
}

static int run_punch(void *thread, const struct script_operation *operation)
{
	return allocate(thread, operation, O_WRONLY, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

static int run_fallocate(void *thread, const struct script_operation *operation)
{
	return allocate(thread, operation, O_WRONLY | O_CREAT, 0);
}

static int run_unlink(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	const struct script_place *place = script_place(kernel->script, operation->place);
	int directory = script_kernel_subvol_open(kernel, place->subvol);

	if (directory < 0)
		return directory;
	return script_kernel_close(directory,
				   script_kernel_result(
					   unlinkat(directory,
						    script_file_name(kernel->script, place->file),
						    0)));
}

/* Returns when what was moved is written: the next operation is to find it in its place. */
static int run_defrag(void *thread, const struct script_operation *operation)
{
	struct btrfs_ioctl_defrag_range_args range = {
		.len = UINT64_MAX,
		.flags = BTRFS_DEFRAG_RANGE_START_IO,
		.extent_thresh = DEFRAG_BELOW,
	};
	int fd = open_place(thread, operation->place, O_RDWR);

	if (fd < 0)
		return fd;
	if (ioctl(fd, BTRFS_IOC_DEFRAG_RANGE, &range))
		return script_kernel_close(fd, -errno);
	return script_kernel_close(fd,
				   script_kernel_result(
					   sync_file_range(fd, 0, 0,
							   SYNC_FILE_RANGE_WAIT_BEFORE |
								   SYNC_FILE_RANGE_WRITE |
								   SYNC_FILE_RANGE_WAIT_AFTER)));
}

/* Where the name can be longer than the kernel's field it is refused, not cut. */
static int set_name(char *field, size_t bytes, const char *name)
{
	if (strlen(name) >= bytes)
		return -ENAMETOOLONG;
	memcpy(field, name, strlen(name) + 1);
	return 0;
}

static int run_subvol(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	struct btrfs_ioctl_vol_args arguments = { 0 };
	int ret = set_name(arguments.name, sizeof(arguments.name),
			   subvol_name(kernel, operation->subvol));

	if (ret)
		return ret;
	return script_kernel_result(ioctl(kernel->directory, BTRFS_IOC_SUBVOL_CREATE, &arguments));
}

static int run_snapshot(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	struct btrfs_ioctl_vol_args_v2 arguments = { 0 };
	int source = script_kernel_subvol_open(kernel, operation->subvol);
	int ret;

	if (source < 0)
		return source;
	arguments.fd = source;
	if (operation->flags & SCRIPT_READ_ONLY)
		arguments.flags = BTRFS_SUBVOL_RDONLY;
	ret = set_name(arguments.name, sizeof(arguments.name),
		       subvol_name(kernel, operation->target_subvol));
	if (!ret)
		ret = script_kernel_inherit_set(kernel, operation, &arguments);
	if (!ret)
		ret = script_kernel_result(
			ioctl(kernel->directory, BTRFS_IOC_SNAP_CREATE_V2, &arguments));
	alloc_free(arguments.qgroup_inherit);
	return script_kernel_close(source, ret);
}

/* The kernel wants the directory that the subvolume stands in, and its name there. */
static int run_delete(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;
	struct btrfs_ioctl_vol_args arguments = { 0 };
	const char *name = subvol_name(kernel, operation->subvol);
	const char *slash = strrchr(name, '/');
	char folder[PATH_MAX];
	int directory = kernel->directory;
	int ret;

	if (slash) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - name), name);
		directory = openat(kernel->directory, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (directory < 0)
			return -errno;
		name = slash + 1;
	}
	ret = set_name(arguments.name, sizeof(arguments.name), name);
	if (!ret)
		ret = script_kernel_result(ioctl(directory, BTRFS_IOC_SNAP_DESTROY, &arguments));
	return slash ? script_kernel_close(directory, ret) : ret;
}

int script_kernel_commit(void *thread, const struct script_operation *operation)
{
	const struct script_kernel *kernel = thread;

	(void)operation;
	return script_kernel_result(ioctl(kernel->directory, BTRFS_IOC_SYNC));
}

/* The orphans of the tree of roots are the subvolumes that are not taken apart yet. 1, 0, or errno. */
static int is_dropping(const struct script_kernel *kernel)
{
	struct btrfs_ioctl_search_args search = {
		.key = {
			.tree_id = BTRFS_ROOT_TREE_OBJECTID,
			.min_objectid = BTRFS_ORPHAN_OBJECTID,
			.max_objectid = BTRFS_ORPHAN_OBJECTID,
			.min_type = BTRFS_ORPHAN_ITEM_KEY,
			.max_type = BTRFS_ORPHAN_ITEM_KEY,
			.max_offset = UINT64_MAX,
			.max_transid = UINT64_MAX,
			.nr_items = 1,
		},
	};

	if (ioctl(kernel->directory, BTRFS_IOC_TREE_SEARCH, &search))
		return -errno;
	return search.key.nr_items > 0;
}

/* A commit wakes the thread of the kernel that takes trees apart. */
static int run_drop_wait(void *thread, const struct script_operation *operation)
{
	const struct timespec pause = { .tv_nsec = DROP_POLL_NS };
	uint64_t begin = clock_now_ns();
	int ret;

	for (;;) {
		ret = script_kernel_commit(thread, operation);
		if (ret)
			return ret;
		ret = is_dropping(thread);
		if (ret <= 0)
			break;
		if (clock_now_ns() - begin > DROP_WAIT_NS)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	/* What taking the last one apart has freed. */
	return ret ? ret : script_kernel_commit(thread, operation);
}

static int kernel_join(void *argument, void **thread)
{
	*thread = argument;
	return 0;
}

static void kernel_leave(void *thread)
{
	(void)thread;
}

static const struct script_backend backend_of_all = {
	.name = "a mounted file system",
	.join = kernel_join,
	.leave = kernel_leave,
	.refused = script_kernel_quota_refused,
	.found = script_kernel_quota_found,
	.run = {
		[SCRIPT_WRITE] = run_write,
		[SCRIPT_CLONE] = run_clone,
		[SCRIPT_DEDUPE] = run_dedupe,
		[SCRIPT_TRUNCATE] = run_truncate,
		[SCRIPT_PUNCH] = run_punch,
		[SCRIPT_FALLOCATE] = run_fallocate,
		[SCRIPT_UNLINK] = run_unlink,
		[SCRIPT_DEFRAG] = run_defrag,
		[SCRIPT_SUBVOL] = run_subvol,
		[SCRIPT_SNAPSHOT] = run_snapshot,
		[SCRIPT_DELETE] = run_delete,
		[SCRIPT_COMMIT] = script_kernel_commit,
		[SCRIPT_DROP_WAIT] = run_drop_wait,
		[SCRIPT_QUOTA_ON] = script_kernel_quota_switch,
		[SCRIPT_QUOTA_OFF] = script_kernel_quota_switch,
		[SCRIPT_RESCAN_START] = script_kernel_rescan_start,
		[SCRIPT_RESCAN_WAIT] = script_kernel_rescan_wait,
		[SCRIPT_GROUP_CREATE] = script_kernel_group_make,
		[SCRIPT_GROUP_REMOVE] = script_kernel_group_make,
		[SCRIPT_GROUP_ASSIGN] = script_kernel_group_assign,
		[SCRIPT_GROUP_UNASSIGN] = script_kernel_group_assign,
		[SCRIPT_EXPECT] = script_kernel_expect,
	},
};

static int open_directory(struct script_kernel *kernel, const char *directory,
			  struct rs_error *error)
{
	struct statfs about;
	int ret;

	kernel->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (kernel->directory < 0 || fstatfs(kernel->directory, &about)) {
		ret = -errno;
		return error_set(error, ret, "cannot be opened: %s", strerror(-ret));
	}
	if (about.f_type != BTRFS_SUPER_MAGIC)
		return error_set(error, -EINVAL, "not a directory of a mounted btrfs");
	return 0;
}

static int check_names(const struct script *script, struct rs_error *error)
{
	uint32_t subvol;

	for (subvol = 0; subvol < script->subvols.count; subvol++)
		if (!strncmp(script_subvol_name(script, subvol), "id:", 3))
			return error_set(error, -EOPNOTSUPP,
					 "the script names a subvolume by its id, '%s'; here they "
					 "are named by their paths",
					 script_subvol_name(script, subvol));
	return 0;
}

int script_kernel_create(const struct script *script, const char *directory,
			 struct script_kernel **out, struct rs_error *error)
{
	struct script_kernel *kernel = alloc_zeroed(1, sizeof(*kernel));
	void *zeros;
	int ret;

	*out = NULL;
	if (!kernel)
		return error_no_memory(error, "a back end");
	kernel->script = script;
	kernel->backend = backend_of_all;
	kernel->backend.argument = kernel;
	ret = open_directory(kernel, directory, error);
	if (!ret)
		ret = check_names(script, error);
	if (ret)
		goto fail;
	/* Pages that are only read are all the kernel's one page of zeros. */
	zeros = mmap(NULL, WRITE_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		     0);
	if (zeros == MAP_FAILED) {
		ret = error_no_memory(error, "a back end");
		goto fail;
	}
	kernel->zeros = zeros;
	*out = kernel;
	return 0;
fail:
	error_add_place(error, "%s", directory);
	script_kernel_destroy(kernel);
	return ret;
}

void script_kernel_destroy(struct script_kernel *kernel)
{
	if (!kernel)
		return;
	if (kernel->zeros)
		munmap((void *)(uintptr_t)kernel->zeros, WRITE_MAX);
	if (kernel->directory >= 0)
		close(kernel->directory);
	alloc_free(kernel);
}

const struct script_backend *script_kernel_backend(const struct script_kernel *kernel)
{
	return &kernel->backend;
}
