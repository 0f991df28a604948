// What a step costs through this executor: the least time on the device of forty, by timestamps around some steps, and the host's
// median time to record one.
//
//   step_time [PARAMETERS [TENSORS [GROUPS [PART OF A DEVICE'S NAME]]]]
//
// `cargo run --release --example step_time` measures the same on wgpu; scripts/capi-bench.sh takes turns.

#include <algorithm>
#include <chrono>

#include "optimizer.hpp"

static double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
}

static void measure(int argc, char **argv) {
    const size_t parameters = argc > 1 ? std::stoul(argv[1]) : 8388608, tensors = argc > 2 ? std::stoul(argv[2]) : 1;
    const size_t groups = argc > 3 ? std::stoul(argv[3]) : 1, steps = parameters > 1000000 ? 4 : 64;
    Device vulkan(argc > 4 ? argv[4] : "", false);

    std::string description = "{\"optimizer\": \"adamw\", \"steps_ahead\": 64, \"groups\": [";
    for (size_t i = 0; i < groups; i++) description += (i ? ", {\"name\": \"" : "{\"name\": \"") + std::to_string(i) + "\"}";
    description += "], \"tensors\": [";
    for (size_t i = 0; i < tensors; i++)
        description += (i ? ", {\"name\": \"" : "{\"name\": \"") + std::to_string(i) + "\", \"shape\": [" +
                       std::to_string(parameters / tensors) + "], \"group\": \"" + std::to_string(i % groups) + "\"}";
    Optimizer optimizer(vulkan, description + "]}");
    optimizer.make_buffers(VK_NULL_HANDLE);
    vulkan.block(optimizer.buffers, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    VkCommandBuffer commands = vulkan.begin();
    // Parameters and gradients of 1, so that no arithmetic meets a special case.
    for (size_t i = 0; i < 2; i++) vkCmdFillBuffer(commands, optimizer.buffers[i], 0, VK_WHOLE_SIZE, 0x3f800000);
    optimizer.make(commands);
    vulkan.run(commands);

    VkQueryPoolCreateInfo create{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, nullptr, 0, VK_QUERY_TYPE_TIMESTAMP, 2, 0};
    VkQueryPool times;
    VK(vkCreateQueryPool(vulkan.device, &create, nullptr, &times));
    std::vector<double> device, host;
    uint64_t number = 0;
    for (int round = 0; round < 42; round++) {
        commands = vulkan.begin();
        vkCmdResetQueryPool(commands, times, 0, 2);
        vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, times, 0);
        const auto start = std::chrono::steady_clock::now();
        for (size_t step = 0; step < steps; step++) optimizer.step(commands, ++number);
        const std::chrono::duration<double, std::micro> recording = std::chrono::steady_clock::now() - start;
        vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, times, 1);
        vulkan.run(commands);
        uint64_t ticks[2];
        VK(vkGetQueryPoolResults(vulkan.device, times, 0, 2, sizeof ticks, ticks, 8,
                                 VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
        if (round < 2) continue; // caches and clocks warm up
        device.push_back(double(ticks[1] - ticks[0]) * vulkan.properties.limits.timestampPeriod / 1e3 / double(steps));
        host.push_back(recording.count() / double(steps));
    }
    // Whatever else the machine does only adds to it.
    std::printf("%.2f us on the device, %.2f us on the host\n", *std::min_element(device.begin(), device.end()), median(host));
}

int main(int argc, char **argv) {
    try {
        measure(argc, argv);
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
