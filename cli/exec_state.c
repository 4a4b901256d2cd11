// SPDX-License-Identifier: MIT
#include "cli/exec_state.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/image_source.h"
#include "cli/text.h"
#include "core/base/alloc.h"
#include "core/base/error.h"
#include "core/base/rcu.h"
#include "stress/oracle/recount.h"

#define TOP_LEVEL 5U /* the id of the subvolume that every file system has */
#define ID_BYTES 24  /* "id:", a number */

/* A subvolume, and what the recount has counted of it. */
struct state_subvol {
	char *name;
	const struct recount_root *root;
};

struct state {
	struct rs_forest *forest; /* of a mounted file system; NULL: it is the caller's */
	struct recount *recount;
	struct state_subvol *subvols;
	size_t subvol_count;
	const char *path;
};

int exec_state_settle(const struct script_backend *backend, struct rs_error *error)
{
	static const uint8_t kinds[] = { SCRIPT_DROP_WAIT, SCRIPT_COMMIT };
	void *thread;
	size_t at;
	int ret = backend->join(backend->argument, &thread);

	if (ret)
		return error_set(error, ret, "--state: %s", strerror(-ret));
	for (at = 0; !ret && at < sizeof(kinds) / sizeof(kinds[0]); at++) {
		const struct script_operation operation = { .kind = kinds[at] };

		ret = backend->run[kinds[at]](thread, &operation);
	}
	backend->leave(thread);
	if (ret && !(backend->aborted && backend->aborted(backend->argument, error)))
		error_set(error, ret, "--state: cannot commit: %s", strerror(-ret));
	return ret;
}

/* Where there is no path the id stands, as in a script. */
static char *subvol_name(struct rs_forest *forest, uint64_t id)
{
	const struct rs_subvol *subvol = rs_subvol_find_id(forest, id);
	const char *name = subvol ? rs_subvol_name(subvol) : NULL;
	char text[ID_BYTES];

	if (!name || !name[0]) {
		snprintf(text, sizeof(text), "id:%" PRIu64, id);
		name = text;
	}
	return alloc_string(name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct state_subvol *)a)->name,
		      ((const struct state_subvol *)b)->name);
}

static int name_all(struct state *state, struct rs_forest *forest)
{
	size_t count;
	const struct recount_root *roots = recount_roots(state->recount, &count);
	size_t at;

	state->subvols = alloc_array(count + 1, sizeof(*state->subvols));
	if (!state->subvols)
		return -ENOMEM;
	for (at = 0; at < count; at++) {
		struct state_subvol *subvol = &state->subvols[state->subvol_count];

		/* No script makes it: where it is empty it is not worth a line. */
		if (roots[at].root == TOP_LEVEL && !roots[at].data_rfer)
			continue;
		subvol->root = &roots[at];
		subvol->name = subvol_name(forest, roots[at].root);
		if (!subvol->name)
			return -ENOMEM;
		state->subvol_count++;
	}
	qsort(state->subvols, state->subvol_count, sizeof(*state->subvols), by_name);
	return 0;
}

static void forget(void *argument)
{
	struct state *state = argument;
	size_t at;

	for (at = 0; at < state->subvol_count; at++)
		alloc_free(state->subvols[at].name);
	alloc_free(state->subvols);
	recount_destroy(state->recount);
	rs_forest_destroy(state->forest);
	*state = (struct state){ .path = state->path };
}

static int count_all(struct rs_forest *forest, struct recount **recount)
{
	const struct recount_options options = { .holdings = true };
	int ret;

	rcu_thread_enroll();
	rcu_section_enter();
	ret = recount_create(forest, &options, recount);
	rcu_section_exit();
	rcu_thread_leave();
	return ret;
}

static int read_forest(struct state *state, struct rs_forest *forest, struct rs_error *error)
{
	const struct recount_report *report;
	int ret = count_all(forest, &state->recount);

	if (ret)
		return error_set(error, ret, "--state: %s", strerror(-ret));
	report = recount_report(state->recount);
	if (report->finding_count)
		return error_set(error, -EUCLEAN, "--state: %s: %s",
				 recount_kind_name(report->findings[0].kind),
				 report->findings[0].text);
	return name_all(state, forest) ? error_no_memory(error, "the state") : 0;
}

/* For image_source_run, which reads again where the file system has moved on meanwhile. */
static int read_mounted(void *argument, struct rs_image *image, struct rs_error *error)
{
	/* Nothing changes what is only looked at. */
	const struct rs_forest_options options = { .no_drop_thread = true };
	struct state *state = argument;
	int ret = rs_forest_open(image, &options, &state->forest, error);

	return ret ? ret : read_forest(state, state->forest, error);
}

static json_t *json_subvols(const struct state *state)
{
	json_t *all = json_array();
	size_t at;

	for (at = 0; at < state->subvol_count; at++) {
		const struct state_subvol *subvol = &state->subvols[at];

		json_array_append_new(all, json_pack("{s:o, s:o, s:o}", "name",
						     text_json_path(subvol->name), "data_rfer",
						     text_json_size(subvol->root->data_rfer),
						     "data_excl",
						     text_json_size(subvol->root->data_excl)));
	}
	return all;
}

static json_t *json_extents(const struct state *state)
{
	json_t *all = json_array();
	size_t count;
	const struct recount_size *sizes = recount_sizes(state->recount, &count);
	size_t at;

	for (at = 0; at < count; at++)
		json_array_append_new(all, json_pack("[o, o]", text_json_size(sizes[at].bytes),
						     text_json_size(sizes[at].count)));
	return all;
}

static bool write_state(FILE *to, const void *argument)
{
	const struct state *state = argument;

	return text_write_json(to, json_pack("{s:s, s:o, s:o}", "schema", "refstorm.state.v1",
					     "subvolumes", json_subvols(state), "data_extents",
					     json_extents(state)));
}

static int show_mounted(void *argument, struct rs_image *image)
{
	const struct state *state = argument;

	(void)image;
	return cli_output_write(state->path, write_state, state) ? CLI_EXIT_OK : CLI_EXIT_UNUSABLE;
}

int exec_state_forest(struct rs_forest *forest, const char *path)
{
	struct state state = { .path = path };
	struct rs_error error = RS_ERROR_INIT;
	int code = CLI_EXIT_UNUSABLE;

	if (read_forest(&state, forest, &error)) {
		cli_error(&error);
		code = error.code == -EUCLEAN ? CLI_EXIT_WRONG : CLI_EXIT_UNUSABLE;
	} else if (cli_output_write(path, write_state, &state)) {
		code = CLI_EXIT_OK;
	}
	forget(&state);
	return code;
}

int exec_state_mounted(const char *directory, const char *path)
{
	const struct image_source source = { .live = directory };
	struct state state = { .path = path };
	const struct image_job job = {
		.argument = &state,
		.compute = read_mounted,
		.show = show_mounted,
		.forget = forget,
	};

	return image_source_run(&source, "exec", &job);
}
