#!/bin/bash
# SPDX-License-Identifier: MIT
# Usage: consumer.sh CMAKE BUILD CC CXX NM
#
# Installs the build into a temporary directory and builds programs against what
# was installed, as a caller would: C and C++11, shared and static, with the
# flags that pkg-config gives. Each program takes the address of every function
# that is exported, so that all of them must be declared and must link.
set -euo pipefail
cmake=$1 build=$2 cc=$3 cxx=$4 nm=$5
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fail() {
	echo "consumer: $*" >&2
	exit 1
}

DESTDIR=$tmp/root "$cmake" --install "$build" >"$tmp/install.log"
pc=$(find "$tmp/root" -name refstorm.pc)
[ -n "$pc" ] || fail "no refstorm.pc was installed"
sed -i "s|^prefix=|prefix=$tmp/root|" "$pc"
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir refstorm)
include=$(pkg-config --variable=includedir refstorm)/refstorm

# What the headers promise, what the shared library has, what the static one has.
sed -n 's/^RS_API [^(]*[ *]\(rs_[a-z0-9_]*\)(.*/\1/p' "$include"/*.h | sort >"$tmp/declared"
"$nm" -D --defined-only "$libdir/librefstorm.so" | awk '{ print $3 }' |
	sort >"$tmp/shared"
"$nm" -g --defined-only "$libdir/librefstorm.a" | awk 'NF == 3 { print $3 }' |
	grep -vx '_.stapsdt.base' | sort >"$tmp/static" || true
[ -s "$tmp/declared" ] || fail "no header declares a function with RS_API"
diff "$tmp/declared" "$tmp/shared" || fail "declared (<) and in the shared library (>) differ"
diff "$tmp/declared" "$tmp/static" || fail "declared (<) and in the static library (>) differ"

{
	echo '#include <stdio.h>'
	for header in "$include"/*.h; do
		echo "#include \"refstorm/$(basename "$header")\""
	done
	cat <<'END'
typedef void any_function(void);
#ifdef __cplusplus
#define ANY(name) reinterpret_cast<any_function *>(name)
#else
#define ANY(name) (any_function *)(name)
#endif
static any_function *const functions[] = {
END
	sed 's/.*/\tANY(&),/' "$tmp/declared"
	cat <<'END'
};
int main()
{
	struct rs_error error = RS_ERROR_INIT;
	unsigned long found = 0;
	for (unsigned long i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		found += functions[i] != 0;
	printf("%lu functions\n", found);
	return error.code;
}
END
} >"$tmp/consumer.c"
cp "$tmp/consumer.c" "$tmp/consumer.cc"

cflags=$(pkg-config --cflags refstorm)
shared=$(pkg-config --libs refstorm)
static=$(pkg-config --libs --static refstorm | sed 's/-lrefstorm\>/-l:librefstorm.a/')
expected="$(wc -l <"$tmp/declared") functions"
warn="-Wall -Wextra -Wpedantic -Werror"

# The flags are lists of words. -Wno-cast-function-type: that is what ANY is for.
try() { # NAME COMPILER SOURCE LIBS
	local said
	# shellcheck disable=SC2086
	$2 $warn -Wno-cast-function-type $cflags "$tmp/$3" -o "$tmp/$1" $4 || fail "$1 does not build"
	said=$(LD_LIBRARY_PATH=$libdir "$tmp/$1") || fail "$1 does not run"
	[ "$said" = "$expected" ] || fail "$1 said '$said', not '$expected'"
}
try c-shared "$cc -std=c99" consumer.c "$shared"
try c-static "$cc -std=c99" consumer.c "$static"
try c++-shared "$cxx -std=c++11" consumer.cc "$shared"
try c++-static "$cxx -std=c++11" consumer.cc "$static"
readelf -d "$tmp/c-static" | grep -q 'NEEDED.*librefstorm' && fail "c-static is not static"
readelf -d "$tmp/c-shared" | grep -q 'NEEDED.*librefstorm\.so\.[0-9]' || fail "c-shared has no soname"
echo "consumer: $expected in C and C++11, shared and static"
