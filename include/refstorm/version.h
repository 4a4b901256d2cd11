/* SPDX-License-Identifier: MIT */
#ifndef REFSTORM_VERSION_H
#define REFSTORM_VERSION_H

/* Of these headers; CMakeLists.txt takes its version from here. */
#define RS_VERSION "0.1.0"

#endif /* REFSTORM_VERSION_H */
