/* The ABI from plain C, against the shared library: create, look, step, destroy. */

#include <stdio.h>
#include <string.h>

#include "wgpu_optim.h"

static const char *const kDescription =
    "{\"optimizer\": \"adamw\", \"tensors\": [{\"name\": \"w\", \"shape\": [784, 10]}, {\"name\": \"b\", \"shape\": [10]}]}";

#define TRY(call)                                                     \
    do {                                                              \
        if ((call) != WGPU_OPTIM_OK) {                                \
            fprintf(stderr, "%s: %s\n", #call, error.text);           \
            return 1;                                                 \
        }                                                             \
    } while (0)

int main(void) {
    WgpuOptimError error;
    WgpuOptimLimits limits = wgpu_optim_limits();
    WgpuOptim *optimizer;
    WgpuOptimCounts counts;
    WgpuOptimStep step;
    WgpuOptimWords words;
    WgpuOptimCode code;

    TRY(wgpu_optim_create(kDescription, strlen(kDescription), &limits, &optimizer, &error));
    TRY(wgpu_optim_counts(optimizer, &counts, &error));
    TRY(wgpu_optim_set(optimizer, 0, "lr", 0.01, &error));
    TRY(wgpu_optim_next_step(optimizer, 1, &step, &error));
    TRY(wgpu_optim_words(optimizer, "m/w", &words, &error));
    TRY(wgpu_optim_code(optimizer, 0, WGPU_OPTIM_LANGUAGE_SPIRV, &code, &error));
    printf("wgpu-optim %s: %u buffers, %u passes, %u writes, %u bytes of SPIR-V, m/w in %u slices\n", wgpu_optim_version(),
           (unsigned)counts.buffers, (unsigned)counts.passes, (unsigned)step.count, (unsigned)code.size, (unsigned)words.count);
    if (counts.tensors != 2 || counts.passes != 1 || step.count < 2 || words.slices[0].size != 4 * 7840) return 1;
    wgpu_optim_destroy(&optimizer);
    return wgpu_optim_counts(optimizer, &counts, &error) == WGPU_OPTIM_POINTER ? 0 : 1;
}
