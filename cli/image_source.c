// SPDX-License-Identifier: MIT
#include "cli/image_source.h"

#include <errno.h>

#include "cli/cli.h"
#include "cli/image_options.h"

const char *image_source_name(const struct image_source *source)
{
	return source->live ? source->live : source->paths[0];
}

static bool check_source(const struct image_source *source, const char *command)
{
	if (source->live && source->path_count) {
		cli_message("%s: --live takes the place of images; '%s' is one too many", command,
			    source->paths[0]);
		return false;
	}
	if (!source->live && !source->path_count) {
		cli_message("%s: no image given; see refstorm help %s", command, command);
		return false;
	}
	return source->live || source->force ||
	       image_option_check_mounts(source->paths, source->path_count);
}

static int open_source(const struct image_source *source, struct rs_image **image,
		       struct rs_error *error)
{
	if (source->live)
		return rs_image_open_live(source->live, image, error);
	return rs_image_open((const char *const *)source->paths, source->path_count, image, error);
}

/* Once: `*moved` says that a commit came between, and that what came out is worth nothing. */
static int try_once(const struct image_source *source, const struct image_job *job,
		    struct rs_image **image, bool *moved, struct rs_error *error)
{
	int ret = open_source(source, image, error);

	*moved = false;
	if (ret) {
		/* A mounted one may have moved on while its first blocks were read. */
		*moved = source->live && (ret == -EUCLEAN || ret == -EIO);
		return ret;
	}
	ret = job->compute(job->argument, *image, error);
	if (source->live && ret != -ECANCELED) {
		struct rs_error why = RS_ERROR_INIT;
		int answer = rs_image_moved(*image, &why);

		*moved = answer > 0;
		if (answer < 0) {
			*error = why;
			ret = answer;
		}
	}
	return ret;
}

static int finish(const struct image_source *source, const struct image_job *job,
		  struct rs_image *image, int ret, const struct rs_error *error)
{
	if (image)
		image_option_warn(image, image_source_name(source));
	if (ret && ret != -ECANCELED) {
		cli_error(error);
		return CLI_EXIT_UNUSABLE;
	}
	/* Also where the signal came behind the last look at it. */
	if (ret || cli_interrupted()) {
		cli_message("interrupted: nothing was computed");
		return CLI_EXIT_INTERRUPTED;
	}
	return job->show(job->argument, image);
}

int image_source_run(const struct image_source *source, const char *command,
		     const struct image_job *job)
{
	unsigned tries;

	if (!check_source(source, command))
		return CLI_EXIT_UNUSABLE;
	cli_catch_interrupt();
	for (tries = 1;; tries++) {
		struct rs_error error = RS_ERROR_INIT;
		struct rs_image *image = NULL;
		bool moved;
		int ret = try_once(source, job, &image, &moved, &error);
		int code;

		if (!moved || cli_interrupted()) {
			code = finish(source, job, image, ret, &error);
		} else if (tries == IMAGE_SOURCE_TRIES) {
			cli_message("%s: could not get a still moment: it made a commit during each "
				    "of %u readings",
				    source->live, tries);
			code = CLI_EXIT_UNUSABLE;
		} else {
			code = -1;
		}
		if (image)
			job->forget(job->argument);
		rs_image_close(image);
		if (code >= 0)
			return code;
	}
}
