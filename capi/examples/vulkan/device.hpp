// The application's own Vulkan: instance, device, memory, pipelines, command buffers. Nothing here knows an optimizer.
#pragma once

#include <vulkan/vulkan.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#define VK(call) check((call), #call)

inline void check(VkResult result, const char *call) {
    if (result != VK_SUCCESS) throw std::runtime_error(std::string(call) + " failed: " + std::to_string(result));
}

// What the validation layers said; more than nothing fails the program.
inline int complaints = 0;

inline VKAPI_ATTR VkBool32 VKAPI_CALL complain(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                               const VkDebugUtilsMessengerCallbackDataEXT *data, void *) {
    std::fprintf(stderr, "validation: %s\n", data->pMessage);
    complaints++;
    return VK_FALSE;
}

struct Device {
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    VkCommandPool commands;
    VkDescriptorPool descriptors;
    VkPhysicalDeviceProperties properties;
    VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
    uint32_t family = UINT32_MAX;

    Device(const std::string &part, bool validate) {
        VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO};
        application.apiVersion = VK_API_VERSION_1_1;
        VkDebugUtilsMessengerCreateInfoEXT messages{VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
        messages.messageSeverity =
            VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
        messages.messageType =
            VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
        messages.pfnUserCallback = complain;
        VkValidationFeatureEnableEXT synchronisation = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
        VkValidationFeaturesEXT features{VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT, &messages};
        features.enabledValidationFeatureCount = 1;
        features.pEnabledValidationFeatures = &synchronisation;
        const char *layer = "VK_LAYER_KHRONOS_validation", *extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
        VkInstanceCreateInfo create{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
        create.pApplicationInfo = &application;
        if (validate) {
            create.pNext = &features;
            create.enabledLayerCount = create.enabledExtensionCount = 1;
            create.ppEnabledLayerNames = &layer;
            create.ppEnabledExtensionNames = &extension;
        }
        VK(vkCreateInstance(&create, nullptr, &instance));
        if (validate) {
            auto make = PFN_vkCreateDebugUtilsMessengerEXT(vkGetInstanceProcAddr(instance, "vkCreateDebugUtilsMessengerEXT"));
            VK(make(instance, &messages, nullptr, &messenger));
        }

        // The first device of that name, and its first queue that computes.
        uint32_t count = 16, families = 16;
        VkPhysicalDevice all[16];
        VkQueueFamilyProperties queue_families[16];
        VkResult found = vkEnumeratePhysicalDevices(instance, &count, all);
        for (uint32_t i = 0; found >= 0 && i < count && family == UINT32_MAX; i++) {
            vkGetPhysicalDeviceProperties(physical = all[i], &properties);
            vkGetPhysicalDeviceQueueFamilyProperties(physical, &(families = 16), queue_families);
            for (uint32_t k = 0; k < families && family == UINT32_MAX; k++)
                if (std::strstr(properties.deviceName, part.c_str()) && queue_families[k].queueFlags & VK_QUEUE_COMPUTE_BIT)
                    family = k;
        }
        if (family == UINT32_MAX) throw std::runtime_error("no Vulkan device called '" + part + "'");

        float priority = 1.0f;
        VkDeviceQueueCreateInfo queues{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, family, 1, &priority};
        VkDeviceCreateInfo create_device{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
        create_device.queueCreateInfoCount = 1;
        create_device.pQueueCreateInfos = &queues;
        VK(vkCreateDevice(physical, &create_device, nullptr, &device));
        vkGetDeviceQueue(device, family, 0, &queue);

        VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr, 0, family};
        VK(vkCreateCommandPool(device, &pool, nullptr, &commands));
        VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 512}, {VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, 32}};
        VkDescriptorPoolCreateInfo sets{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, 32, 2, sizes};
        VK(vkCreateDescriptorPool(device, &sets, nullptr, &descriptors));
    }

    VkBuffer buffer(VkDeviceSize size, VkBufferUsageFlags usage) const {
        VkBufferCreateInfo create{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
        create.size = size;
        create.usage = usage | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
        VkBuffer made;
        VK(vkCreateBuffer(device, &create, nullptr, &made));
        return made;
    }

    // One block of memory for all of these buffers, as engines have their own.
    VkDeviceMemory block(const std::vector<VkBuffer> &buffers, VkMemoryPropertyFlags wanted) const {
        VkDeviceSize end = 0;
        uint32_t types = ~0u;
        std::vector<VkDeviceSize> at;
        for (VkBuffer buffer : buffers) {
            VkMemoryRequirements needs;
            vkGetBufferMemoryRequirements(device, buffer, &needs);
            at.push_back((end + needs.alignment - 1) / needs.alignment * needs.alignment);
            end = at.back() + needs.size;
            types &= needs.memoryTypeBits;
        }
        VkPhysicalDeviceMemoryProperties memory;
        vkGetPhysicalDeviceMemoryProperties(physical, &memory);
        for (uint32_t type = 0; type < memory.memoryTypeCount; type++) {
            if (!(types >> type & 1) || (memory.memoryTypes[type].propertyFlags & wanted) != wanted) continue;
            VkMemoryAllocateInfo allocate{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, end, type};
            VkDeviceMemory made;
            VK(vkAllocateMemory(device, &allocate, nullptr, &made));
            for (size_t i = 0; i < buffers.size(); i++) VK(vkBindBufferMemory(device, buffers[i], made, at[i]));
            return made;
        }
        throw std::runtime_error("no memory of the kind that was wanted");
    }

    VkDescriptorSetLayout layout(const std::vector<VkDescriptorType> &kinds) const {
        std::vector<VkDescriptorSetLayoutBinding> bindings;
        for (uint32_t i = 0; i < kinds.size(); i++)
            bindings.push_back({i, kinds[i], 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
        VkDescriptorSetLayoutCreateInfo create{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0,
                                               uint32_t(bindings.size()), bindings.data()};
        VkDescriptorSetLayout made;
        VK(vkCreateDescriptorSetLayout(device, &create, nullptr, &made));
        return made;
    }

    VkDescriptorSet set(VkDescriptorSetLayout layout, const std::vector<VkDescriptorType> &kinds,
                        const std::vector<VkDescriptorBufferInfo> &bound) const {
        VkDescriptorSetAllocateInfo allocate{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr, descriptors, 1, &layout};
        VkDescriptorSet made;
        VK(vkAllocateDescriptorSets(device, &allocate, &made));
        for (uint32_t i = 0; i < bound.size(); i++) {
            VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
            write.dstSet = made;
            write.dstBinding = i;
            write.descriptorCount = 1;
            write.descriptorType = kinds[i];
            write.pBufferInfo = &bound[i];
            vkUpdateDescriptorSets(device, 1, &write, 0, nullptr);
        }
        return made;
    }

    VkPipelineLayout pipeline_layout(VkDescriptorSetLayout layout, uint32_t pushed) const {
        VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, pushed};
        VkPipelineLayoutCreateInfo create{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
        create.setLayoutCount = 1;
        create.pSetLayouts = &layout;
        create.pushConstantRangeCount = pushed > 0;
        create.pPushConstantRanges = &range;
        VkPipelineLayout made;
        VK(vkCreatePipelineLayout(device, &create, nullptr, &made));
        return made;
    }

    VkPipeline pipeline(VkPipelineLayout layout, const void *code, size_t size, const char *entry_point) const {
        VkShaderModuleCreateInfo shader{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
        shader.codeSize = size;
        shader.pCode = static_cast<const uint32_t *>(code);
        VkComputePipelineCreateInfo create{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
        create.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO};
        create.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
        create.stage.pName = entry_point;
        create.layout = layout;
        VK(vkCreateShaderModule(device, &shader, nullptr, &create.stage.module));
        VkPipeline made;
        VK(vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &create, nullptr, &made));
        vkDestroyShaderModule(device, create.stage.module, nullptr);
        return made;
    }

    VkCommandBuffer begin() const {
        VkCommandBufferAllocateInfo allocate{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, commands,
                                             VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
        VkCommandBuffer made;
        VK(vkAllocateCommandBuffers(device, &allocate, &made));
        VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
        VK(vkBeginCommandBuffer(made, &begin));
        return made;
    }

    void run(VkCommandBuffer recorded) const {
        VK(vkEndCommandBuffer(recorded));
        VkSubmitInfo submit{VK_STRUCTURE_TYPE_SUBMIT_INFO};
        submit.commandBufferCount = 1;
        submit.pCommandBuffers = &recorded;
        VK(vkQueueSubmit(queue, 1, &submit, VK_NULL_HANDLE));
        VK(vkQueueWaitIdle(queue));
        vkFreeCommandBuffers(device, commands, 1, &recorded);
    }
};

// What comes behind it sees what came before. Kernels and copies take turns here, so one kind of barrier is enough.
inline void barrier(VkCommandBuffer commands) {
    const VkPipelineStageFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkMemoryBarrier memory{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
    memory.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    memory.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_UNIFORM_READ_BIT |
                           VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    vkCmdPipelineBarrier(commands, stages, stages, 0, 1, &memory, 0, nullptr, 0, nullptr);
}

// Bytes into a buffer, through the command buffer: in order with everything else.
inline void update(VkCommandBuffer commands, VkBuffer buffer, VkDeviceSize at, const void *bytes, size_t size) {
    for (size_t done = 0; done < size; done += 65536)
        vkCmdUpdateBuffer(commands, buffer, at + done, std::min<size_t>(size - done, 65536),
                          static_cast<const char *>(bytes) + done);
}
