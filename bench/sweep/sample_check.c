// SPDX-License-Identifier: MIT
#include "bench/sweep/sample_check.h"

#include <string.h>

#include "core/base/error.h"

static int call_failed(struct rs_error *error, int result, const char *what)
{
	return error_set(error, result, "%s: %s", what, strerror(-result));
}

int sample_check(const struct plan *plan, struct workload *workload, struct rs_writer *writer,
		 bool quotas, struct rs_error *error)
{
	int result = 0;

	if (workload->kind->check)
		result = workload->kind->check(workload, writer, error);
	if (result)
		return error && error->code ? result :
					      call_failed(error, result, "the workload's check");
	result = rs_forest_drop_wait(writer);
	if (!result)
		result = rs_forest_commit(writer);
	if (!result)
		return plan->oracle ? plan->oracle(workload->forest, quotas, error) : 0;
	if (!rs_forest_aborted(workload->forest, error))
		call_failed(error, result, "the last commit");
	return result;
}
