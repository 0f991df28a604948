// An executor of wgpu-optim on Vulkan: makes what the program lists, and dispatches its passes. It knows nothing of any rule.
#pragma once

#include "device.hpp"
#include "wgpu_optim.h"

// Calls wgpu-optim with an error to write to, and throws what it says.
template <typename... Parameters, typename... Arguments>
inline void optim(uint32_t (*call)(Parameters...), Arguments... arguments) {
    WgpuOptimError error;
    if (call(arguments..., &error) != WGPU_OPTIM_OK) throw std::runtime_error(error.text);
}

struct Optimizer {
    const Device &vulkan;
    WgpuOptim *core = nullptr;
    WgpuOptimCounts counts{};
    std::vector<VkBuffer> buffers;
    std::vector<VkPipelineLayout> layouts;
    std::vector<VkPipeline> pipelines;
    std::vector<VkDescriptorSet> sets;

    // What the tensors are and what is to be done with them is JSON; the device's limits decide how.
    Optimizer(const Device &vulkan, const std::string &description) : vulkan(vulkan) {
        const VkPhysicalDeviceLimits &allowed = vulkan.properties.limits;
        WgpuOptimLimits limits = wgpu_optim_limits();
        limits.max_buffer_size = limits.max_storage_buffer_binding_size = allowed.maxStorageBufferRange;
        limits.min_storage_buffer_offset_alignment = uint32_t(allowed.minStorageBufferOffsetAlignment);
        limits.max_storage_buffers_per_shader_stage = allowed.maxPerStageDescriptorStorageBuffers;
        limits.max_compute_workgroups_per_dimension =
            std::min(allowed.maxComputeWorkGroupCount[0], allowed.maxComputeWorkGroupCount[1]);
        limits.max_compute_invocations_per_workgroup = allowed.maxComputeWorkGroupInvocations;
        limits.max_compute_workgroup_size_x = allowed.maxComputeWorkGroupSize[0];
        limits.overlapping_bindings = 1;
        limits.software = vulkan.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
        optim(wgpu_optim_create, description.data(), description.size(), &limits, &core);
        optim(wgpu_optim_counts, core, &counts);
    }

    ~Optimizer() { wgpu_optim_destroy(&core); }

    // The program's buffers, without memory yet: the application's own first, `model` is number 0.
    void make_buffers(VkBuffer model) {
        for (size_t i = 0; i < counts.buffers; i++) {
            WgpuOptimBuffer buffer;
            optim(wgpu_optim_buffer, core, i, &buffer);
            const bool uniform = buffer.usage == WGPU_OPTIM_USAGE_UNIFORM;
            const auto usage = uniform ? VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT : VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
            buffers.push_back(buffer.usage == WGPU_OPTIM_USAGE_OWN ? model : vulkan.buffer(buffer.size, usage));
        }
    }

    // Everything else, once the buffers have memory.
    void make(VkCommandBuffer commands) {
        for (size_t i = 0; i < counts.buffers; i++) {
            WgpuOptimBuffer buffer;
            optim(wgpu_optim_buffer, core, i, &buffer);
            if (buffer.usage == WGPU_OPTIM_USAGE_OWN) continue;
            std::vector<char> contents(buffer.size);
            optim(wgpu_optim_buffer_contents, core, i, contents.data(), uint64_t(contents.size()));
            update(commands, buffers[i], 0, contents.data(), contents.size());
        }
        std::vector<std::vector<VkDescriptorType>> kinds(counts.layouts);
        std::vector<VkDescriptorSetLayout> set_layouts;
        for (size_t i = 0; i < counts.layouts; i++) {
            WgpuOptimLayout layout;
            optim(wgpu_optim_layout, core, i, &layout);
            for (size_t binding = 0; binding < layout.count; binding++)
                kinds[i].push_back(layout.kinds[binding] == WGPU_OPTIM_BINDING_RECORD
                                       ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC
                                       : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER);
            set_layouts.push_back(vulkan.layout(kinds[i]));
            layouts.push_back(vulkan.pipeline_layout(set_layouts[i], 0));
        }
        for (size_t i = 0; i < counts.modules; i++) {
            WgpuOptimModule module;
            WgpuOptimCode code;
            optim(wgpu_optim_module, core, i, &module);
            optim(wgpu_optim_code, core, i, WGPU_OPTIM_LANGUAGE_SPIRV, &code);
            pipelines.push_back(vulkan.pipeline(layouts[module.layout], code.bytes, code.size, code.entry_point));
        }
        for (size_t i = 0; i < counts.bindings; i++) {
            WgpuOptimBindings group;
            optim(wgpu_optim_bindings, core, i, &group);
            std::vector<VkDescriptorBufferInfo> bound;
            for (size_t binding = 0; binding < group.count; binding++) {
                const WgpuOptimSlice &slice = group.slices[binding];
                bound.push_back({buffers[slice.buffer], slice.offset, slice.size});
            }
            sets.push_back(vulkan.set(set_layouts[group.layout], kinds[group.layout], bound));
        }
    }

    // A step: what it needs is written, then every pass is dispatched behind the one before.
    void step(VkCommandBuffer commands, uint64_t number) {
        WgpuOptimStep step;
        optim(wgpu_optim_next_step, core, number, &step);
        barrier(commands);
        for (size_t i = 0; i < step.count; i++) {
            const WgpuOptimWrite &write = step.writes[i];
            update(commands, buffers[write.buffer], write.offset, write.bytes, write.size);
        }
        for (size_t i = 0; i < counts.passes; i++) {
            WgpuOptimPass pass;
            WgpuOptimModule module;
            optim(wgpu_optim_pass, core, i, &pass);
            optim(wgpu_optim_module, core, pass.module, &module);
            barrier(commands);
            vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipelines[pass.module]);
            vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layouts[module.layout], 0, 1,
                                    &sets[pass.bindings], 1, &step.record);
            vkCmdDispatch(commands, pass.workgroups[0], pass.workgroups[1], 1);
        }
        barrier(commands);
    }
};
