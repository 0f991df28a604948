// Trains a network that knows a picture, on raw Vulkan. wgpu-optim says what to make and what to dispatch; it makes nothing
// itself, and no other graphics API is in the process.
//
//   heart [--optimizer adamw|lamb] [--steps N] [--gap FLOATS] [--device PART OF A NAME] [--picture FILE.ppm]
//         [--record FILE] [--validate]
//
// device.hpp is what any Vulkan application has, optimizer.hpp what it needs for wgpu-optim, network.comp its own kernels.

#include <cmath>
#include <cstring>
#include <fstream>

#include "optimizer.hpp"

#include "BACKWARD.h"
#include "GATHER.h"
#include "PAINT.h"

struct Tensor { const char *name; unsigned rows, columns, at; };
static const Tensor kTensors[] = {{"w1", 32, 2, 0},     {"b1", 32, 1, 64},    {"w2", 32, 32, 96},
                                  {"b2", 32, 1, 1120}, {"w3", 3, 32, 1152}, {"b3", 3, 1, 1248}};
static const unsigned kElements = 1251, kSamples = 1024, kSample = 134, kSide = 128;

// Parameters from byte 0 on, gradients `gap` floats behind them, in one buffer: every offset is a multiple of four bytes, and
// multiples of sixteen are faster.
static std::string describe(const std::string &optimizer, unsigned grads, unsigned words) {
    std::string tensors;
    for (const Tensor &tensor : kTensors) {
        char text[256];
        std::snprintf(text, sizeof text,
                      "%s{\"name\": \"%s\", \"shape\": [%u, %u], \"group\": \"%s\", "
                      "\"param\": {\"buffer\": 0, \"offset\": %u}, \"grad\": {\"buffer\": 0, \"offset\": %u}}",
                      tensors.empty() ? "" : ", ", tensor.name, tensor.rows, tensor.columns,
                      tensor.name[0] == 'w' ? "weights" : "biases", 4 * tensor.at, 4 * (grads + tensor.at));
        tensors += text;
    }
    return "{\"optimizer\": \"" + optimizer + "\", \"lr\": 0.01, \"weight_decay\": 0.001, \"max_grad_norm\": 0.5, " +
           "\"groups\": [{\"name\": \"weights\"}, {\"name\": \"biases\", \"weight_decay\": 0}], " +
           "\"buffers\": [" + std::to_string(4 * words) + "], \"tensors\": [" + tensors + "]}";
}

static int train(int argc, char **argv) {
    std::string optimizer = "adamw", part, picture = "heart.ppm", record;
    unsigned steps = 2000, gap = 29;
    bool validate = false;
    for (int i = 1; i < argc; i++) {
        const std::string option = argv[i];
        auto value = [&] { return i + 1 < argc ? std::string(argv[++i]) : throw std::runtime_error(option + " needs a value"); };
        if (option == "--optimizer") optimizer = value();
        else if (option == "--device") part = value();
        else if (option == "--picture") picture = value();
        else if (option == "--record") record = value();
        else if (option == "--steps") steps = unsigned(std::stoul(value()));
        else if (option == "--gap") gap = unsigned(std::stoul(value())); // at any multiple of four bytes
        else if (option == "--validate") validate = true;
        else throw std::runtime_error("unknown option " + option);
    }
    const unsigned grads = kElements + gap, words = (grads + kElements + 3) / 4 * 4;

    Device vulkan(part, validate);
    std::printf("%s on %s\n", optimizer.c_str(), vulkan.properties.deviceName);
    const std::string description = describe(optimizer, grads, words);
    Optimizer rule(vulkan, description);

    // The application's buffers and the program's, in one block of memory; what is read back, in another.
    const VkBufferUsageFlags storage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
    VkBuffer model = vulkan.buffer(4 * words, storage), work = vulkan.buffer(4 * (kSamples * kSample + 4), storage);
    VkBuffer image = vulkan.buffer(4 * kSide * kSide, storage), back = vulkan.buffer(4 * kSide * kSide, 0);
    rule.make_buffers(model);
    std::vector<VkBuffer> all = rule.buffers;
    all.insert(all.end(), {work, image});
    vulkan.block(all, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    VkDeviceMemory read = vulkan.block({back}, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    void *mapped;
    VK(vkMapMemory(vulkan.device, read, 0, VK_WHOLE_SIZE, 0, &mapped));

    std::vector<float> start(words, 0.0f);
    uint32_t random = 1;
    for (const Tensor &tensor : kTensors)
        for (unsigned i = 0; tensor.name[0] == 'w' && i < tensor.rows * tensor.columns; i++) {
            random = random * 1664525u + 1013904223u;
            start[tensor.at + i] = (float(random >> 8) / 8388608.0f - 1.0f) * std::sqrt(3.0f / float(tensor.columns));
        }
    VkCommandBuffer commands = vulkan.begin();
    update(commands, model, 0, start.data(), 4 * words);
    rule.make(commands);
    vulkan.run(commands);

    const std::vector<VkDescriptorType> kinds(3, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER);
    VkDescriptorSetLayout own = vulkan.layout(kinds);
    VkPipelineLayout layout = vulkan.pipeline_layout(own, 8);
    VkDescriptorSet set =
        vulkan.set(own, kinds, {{model, 0, VK_WHOLE_SIZE}, {work, 0, VK_WHOLE_SIZE}, {image, 0, VK_WHOLE_SIZE}});
    VkPipeline backward = vulkan.pipeline(layout, kBACKWARD, sizeof kBACKWARD, "main");
    VkPipeline gather = vulkan.pipeline(layout, kGATHER, sizeof kGATHER, "main");
    VkPipeline paint = vulkan.pipeline(layout, kPAINT, sizeof kPAINT, "main");
    auto dispatch = [&](VkPipeline pipeline, uint32_t seed, uint32_t invocations) {
        const uint32_t push[] = {seed, grads};
        barrier(commands);
        vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
        vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, nullptr);
        vkCmdPushConstants(commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof push, push);
        vkCmdDispatch(commands, (invocations + 63) / 64, 1, 1);
    };
    auto read_back = [&](VkBuffer buffer, VkDeviceSize at, VkDeviceSize size) {
        VkBufferCopy copy{at, 0, size};
        barrier(commands);
        vkCmdCopyBuffer(commands, buffer, back, 1, &copy);
        vulkan.run(commands);
    };

    // A run can be recorded: gradients and parameters of every step, for another executor to be held against.
    std::ofstream recorded;
    if (!record.empty()) recorded.open(record, std::ios::binary);
    recorded << description << '\n';
    recorded.write(reinterpret_cast<const char *>(start.data()), 4 * words);
    float loss = 0.0f, first = 0.0f;
    for (uint64_t step = 1; step <= steps; step++) {
        // As a slider would: any number of any group, at any time.
        const double lr = step * 4 < steps * 3 ? 0.01 : 0.001;
        for (size_t group = 0; group < rule.counts.groups; group++) optim(wgpu_optim_set, rule.core, group, "lr", lr);
        commands = vulkan.begin();
        dispatch(backward, uint32_t(step), kSamples);
        dispatch(gather, uint32_t(step), kElements + 1);
        rule.step(commands, step);
        read_back(model, 0, recorded.is_open() ? 4 * words : 4);
        if (recorded.is_open()) {
            recorded.write(reinterpret_cast<const char *>(&lr), 8);
            recorded.write(static_cast<const char *>(mapped), 4 * words);
        }
        if (step == 1 || step % std::max(steps / 10, 1u) == 0) {
            commands = vulkan.begin();
            read_back(work, 4 * kSamples * kSample, 4);
            std::memcpy(&loss, mapped, 4);
            first = step == 1 ? loss : first;
            std::printf("step %llu: lr %g, loss %.5f\n", static_cast<unsigned long long>(step), lr, loss);
        }
    }

    commands = vulkan.begin();
    dispatch(paint, 0, kSide * kSide);
    read_back(image, 0, 4 * kSide * kSide);
    std::ofstream file(picture, std::ios::binary);
    file << "P6\n" << kSide << ' ' << kSide << "\n255\n";
    for (unsigned i = 0; i < kSide * kSide; i++) file.write(static_cast<const char *>(mapped) + 4 * i, 3);
    std::printf("%s shows what it learned\n", picture.c_str());
    // The process ends here, and with it everything on the device.
    return complaints > 0 || !(loss < first / 2.0f) || !file ? 1 : 0;
}

int main(int argc, char **argv) {
    try {
        return train(argc, argv);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
