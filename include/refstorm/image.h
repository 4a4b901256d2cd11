/* SPDX-License-Identifier: MIT */
/*
 * A btrfs file system in files or on block devices, opened for reading.
 *
 * Nothing here writes to the devices. An image that changes while it is open
 * gives errors, not wrong numbers: every block carries its generation and a
 * checksum.
 */
#ifndef REFSTORM_IMAGE_H
#define REFSTORM_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "refstorm/error.h"
#include "refstorm/export.h"

#ifdef __cplusplus
extern "C" {
#endif

struct rs_image;

/*
 * Opens the `count` files or block devices of one file system, chooses the best
 * super block and reads the chunk tree. Any thread may call it.
 *
 * Returns 0 and the image in `*out`, or a negative errno and the reason in
 * `error` (which may be NULL): errno of open and read; -EINVAL not a btrfs file
 * system, or not a file or device; -EUCLEAN damaged beyond use; -EOPNOTSUPP a
 * feature that is not supported, by name; -ENXIO a device is missing; -EEXIST a
 * device is given twice; -ENOMEM.
 */
RS_API int rs_image_open(const char *const *paths, size_t count, struct rs_image **out,
			 struct rs_error *error) __attribute__((warn_unused_result));

/*
 * The same for the file system that is mounted at or above the directory
 * `directory`, as its last commit left it. Its devices are read past the page
 * cache, and never written. Needs root.
 *
 * What is read is the state of one commit as long as no later one has begun to
 * write over it: rs_image_moved says so. Until it has said no, nothing that was
 * computed from such an image is to be believed, errors neither.
 *
 * Errors besides those above: -EINVAL not a btrfs; -EPERM.
 */
RS_API int rs_image_open_live(const char *directory, struct rs_image **out, struct rs_error *error)
	__attribute__((warn_unused_result));

/*
 * Whether the file system has made a commit since the image was opened: 1, 0, or
 * a negative errno if its super blocks cannot be read. Any thread.
 */
RS_API int rs_image_moved(const struct rs_image *image, struct rs_error *error)
	__attribute__((warn_unused_result));

/* The path of device number `index`; NULL past the last one. Valid until the image is closed. */
RS_API const char *rs_image_device(const struct rs_image *image, size_t index);

/* NULL is allowed. Nobody may be using the image. */
RS_API void rs_image_close(struct rs_image *image);

/* Generation of the super block in use: the number of its last commit. Any thread. */
RS_API uint64_t rs_image_generation(const struct rs_image *image);

/*
 * What was found on the way that does not change the numbers: bad copies that
 * had a good one beside them, a log tree that waits to be replayed. Any thread;
 * `index` is below the count. A text stays valid until the image is closed.
 */
RS_API size_t rs_image_warning_count(struct rs_image *image);
RS_API const char *rs_image_warning(struct rs_image *image, size_t index);

/*
 * Whether the kernel has `path` (a block device, or a file behind a loop device)
 * mounted read-write as btrfs: 1, 0, or a negative errno if that cannot be told.
 * `where`, of `where_bytes`, gets the mount point.
 */
RS_API int rs_device_mounted(const char *path, char *where, size_t where_bytes);

#ifdef __cplusplus
}
#endif

#endif /* REFSTORM_IMAGE_H */
