# p2ptls: targets all, check, lint, fuzz, install, clean; SANITIZE=address,undefined|thread for instrumented builds.
VERSION   := 0.1.0
CC        ?= gcc
PREFIX    ?= /usr/local
LIBDIR    ?= $(PREFIX)/lib/p2ptls
BINDIR    ?= $(PREFIX)/bin
DOCDIR    ?= $(PREFIX)/share/doc/p2ptls

SANITIZE  ?=
BUILD     ?= build$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))$(if $(NONCE_AUDIT),-audit)
comma     := ,

WARN      := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wwrite-strings -Werror
OPT       ?= -O2
CFLAGS    ?= -g
ALL_CFLAGS = -std=gnu11 $(OPT) $(CFLAGS) $(WARN) -D_GNU_SOURCE -DP2PTLS_VERSION='"$(VERSION)"' -Isrc -MMD -MP -fPIC -fvisibility=hidden \
             -fno-strict-aliasing -fstack-protector-strong \
             $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -DP2PTLS_SANITIZED,-U_FORTIFY_SOURCE) \
             $(if $(NONCE_AUDIT),-DP2PTLS_NONCE_AUDIT)
ALL_LDFLAGS = $(LDFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE)) -Wl,-z,relro,-z,now -Wl,--as-needed
GNUTLS_CFLAGS := $(shell pkg-config --cflags gnutls 2>/dev/null)
GNUTLS_LIBS   := $(or $(shell pkg-config --libs gnutls 2>/dev/null),-lgnutls)

# What comes before the core is loaded: linked into libp2ptls.so, without GnuTLS.
BASE_SRC  := src/result.c src/log.c src/role.c $(wildcard src/policy*.c)
CORE_SRC  := $(wildcard src/*.c)
HOOK_SRC  := $(wildcard preload/*.c) $(wildcard preload/*.S)

obj        = $(patsubst %,$(BUILD)/%.o,$(basename $(1)))
BASE_OBJ  := $(call obj,$(BASE_SRC))
CORE_OBJ  := $(call obj,$(CORE_SRC))
HOOK_OBJ  := $(call obj,$(HOOK_SRC))

UNIT_BIN  := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
PROG_BIN  := $(patsubst tests/programs/%.c,$(BUILD)/tests/programs/%,$(wildcard tests/programs/*.c))

.PHONY: all lib programs units unit check lint fuzz install clean
all: lib
lib: $(BUILD)/libp2ptls.so $(BUILD)/libp2ptls-core.so
programs: $(PROG_BIN)
units: $(UNIT_BIN)

$(BUILD)/libp2ptls.so: $(HOOK_OBJ) $(BASE_OBJ) preload/exports.map
	$(CC) -shared -o $@ $(HOOK_OBJ) $(BASE_OBJ) $(ALL_LDFLAGS) -Wl,--version-script=preload/exports.map -Wl,-z,nodelete -Wl,-z,defs -ldl -lpthread

$(BUILD)/libp2ptls-core.so: $(CORE_OBJ) src/core.map
	$(CC) -shared -o $@ $(CORE_OBJ) $(ALL_LDFLAGS) -Wl,--version-script=src/core.map -Wl,-z,nodelete -Wl,-z,defs $(GNUTLS_LIBS) -lpthread

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(GNUTLS_CFLAGS) -c -o $@ $<

$(BUILD)/%.o: %.S
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Unit tests link the objects of src/ directly: they see what the export maps hide.
$(BUILD)/tests/unit/%: tests/unit/%.c $(CORE_OBJ) $(wildcard tests/unit/*.h)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(GNUTLS_CFLAGS) -o $@ $< $(CORE_OBJ) $(ALL_LDFLAGS) -lcmocka $(GNUTLS_LIBS) -lpthread

# Programs for the bats suites are plain, unmodified users of the sockets API.
$(BUILD)/tests/programs/%: tests/programs/%.c $(wildcard tests/programs/*.h)
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -Wall -Wextra -D_GNU_SOURCE $(if $(SANITIZE),-fsanitize=$(SANITIZE)) -o $@ $< -lpthread

unit: units
	@set -e; for t in $(UNIT_BIN); do echo "== $$t"; $$t; done

clean:
	rm -rf build build-*

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
