// The built-in scenarios by name: the files of Scenarios/, embedded at build time.

/// Sorted by name. A test compares this list with the directory.
private let builtIns: [(name: String, text: [UInt8])] = [
  ("after-a-replug", PackageResources.after_a_replug_json),
  ("amd-and-ast", PackageResources.amd_and_ast_json),
  ("amd-and-evdi", PackageResources.amd_and_evdi_json),
  ("amd-beside-nvidia", PackageResources.amd_beside_nvidia_json),
  ("aquamarine-239-idle-secondary", PackageResources.aquamarine_239_idle_secondary_json),
  ("aquamarine-279-evdi", PackageResources.aquamarine_279_evdi_json),
  ("aquamarine-290-secondary-output", PackageResources.aquamarine_290_secondary_output_json),
  ("aquamarine-416-nvidia-primary", PackageResources.aquamarine_416_nvidia_primary_json),
  ("asahi-split", PackageResources.asahi_split_json),
  ("asleep-beside-the-panel", PackageResources.asleep_beside_the_panel_json),
  ("cached-names-a-sleeper", PackageResources.cached_names_a_sleeper_json),
  ("capture-writes", PackageResources.capture_writes_json),
  ("copy-for-the-other-gpu-mainline", PackageResources.copy_for_the_other_gpu_mainline_json),
  ("cosmic-1849-stuck-awake", PackageResources.cosmic_1849_stuck_awake_json),
  ("cosmic-2098-capture", PackageResources.cosmic_2098_capture_json),
  ("cosmic-2232-muxless", PackageResources.cosmic_2232_muxless_json),
  ("cosmic-2402-outputs-elsewhere", PackageResources.cosmic_2402_outputs_elsewhere_json),
  ("cosmic-2529-node-held-open", PackageResources.cosmic_2529_node_held_open_json),
  ("cosmic-2664-ccs", PackageResources.cosmic_2664_ccs_json),
  ("cosmic-2733-monitor-gone", PackageResources.cosmic_2733_monitor_gone_json),
  ("cosmic-281-arc-and-radeon", PackageResources.cosmic_281_arc_and_radeon_json),
  ("cosmic-590-idle-dgpu", PackageResources.cosmic_590_idle_dgpu_json),
  ("cosmic-913-release", PackageResources.cosmic_913_release_json),
  ("daenzer-copy-for-the-other-gpu", PackageResources.daenzer_copy_for_the_other_gpu_json),
  ("daenzer-evicted-at-first-sight", PackageResources.daenzer_evicted_at_first_sight_json),
  ("daenzer-evicted-later", PackageResources.daenzer_evicted_later_json),
  ("daenzer-ping-pong", PackageResources.daenzer_ping_pong_json),
  ("declared-sampling-device", PackageResources.declared_sampling_device_json),
  ("demo-laptop", PackageResources.demo_laptop_json),
  ("egpu-evicted-survivor", PackageResources.egpu_evicted_survivor_json),
  ("egpu-pulled", PackageResources.egpu_pulled_json),
  ("eight-gpu-mainline", PackageResources.eight_gpu_mainline_json),
  ("eight-gpu-workstation", PackageResources.eight_gpu_workstation_json),
  ("evicted-at-first-sight", PackageResources.evicted_at_first_sight_json),
  ("fallback-is-no-sink", PackageResources.fallback_is_no_sink_json),
  ("gamescope-1220-game-on-dgpu", PackageResources.gamescope_1220_game_on_dgpu_json),
  ("gamescope-193-wrong-gpu", PackageResources.gamescope_193_wrong_gpu_json),
  ("gamescope-2070-rk3588", PackageResources.gamescope_2070_rk3588_json),
  ("hung-driver", PackageResources.hung_driver_json),
  ("hybrid-laptop", PackageResources.hybrid_laptop_json),
  ("hyprland-16092-refused-import", PackageResources.hyprland_16092_refused_import_json),
  ("in-place-but-never-asked", PackageResources.in_place_but_never_asked_json),
  ("intel-tiling-on-nvidia", PackageResources.intel_tiling_on_nvidia_json),
  ("intel-xe-and-amd-plain-kernel", PackageResources.intel_xe_and_amd_plain_kernel_json),
  ("introspection-evicted", PackageResources.introspection_evicted_json),
  ("jay-601-two-nvidia", PackageResources.jay_601_two_nvidia_json),
  ("koenig-peer-to-peer", PackageResources.koenig_peer_to_peer_json),
  ("linear-of-nvidia", PackageResources.linear_of_nvidia_json),
  ("niri-3265-d3cold", PackageResources.niri_3265_d3cold_json),
  ("niri-3610-back-from-passthrough", PackageResources.niri_3610_back_from_passthrough_json),
  ("niri-3674-release-then-unbind", PackageResources.niri_3674_release_then_unbind_json),
  ("niri-910-displaylink", PackageResources.niri_910_displaylink_json),
  ("no-device", PackageResources.no_device_json),
  ("nouveau-mainline", PackageResources.nouveau_mainline_json),
  ("nvidia-1037-amd", PackageResources.nvidia_1037_amd_json),
  ("nvidia-1037-intel", PackageResources.nvidia_1037_intel_json),
  ("nvidia-came-back", PackageResources.nvidia_came_back_json),
  ("nvidia-or-a-dock", PackageResources.nvidia_or_a_dock_json),
  ("nvtop-267-wake-only-if-asked", PackageResources.nvtop_267_wake_only_if_asked_json),
  ("one-client-changes-allocator", PackageResources.one_client_changes_allocator_json),
  ("one-dmabuf-two-planes", PackageResources.one_dmabuf_two_planes_json),
  ("one-pid-two-gpus", PackageResources.one_pid_two_gpus_json),
  ("pi-camera-nv12", PackageResources.pi_camera_nv12_json),
  ("pinebook-panfrost", PackageResources.pinebook_panfrost_json),
  ("planes-of-two-exporters", PackageResources.planes_of_two_exporters_json),
  ("planes-out-of-reach", PackageResources.planes_out_of_reach_json),
  ("plugged-while-evicted", PackageResources.plugged_while_evicted_json),
  ("prime-offload-copy", PackageResources.prime_offload_copy_json),
  ("radeon-among-virtual", PackageResources.radeon_among_virtual_json),
  ("radeon-scans-out-no-import", PackageResources.radeon_scans_out_no_import_json),
  ("released-sleeper-is-woken", PackageResources.released_sleeper_is_woken_json),
  ("resize-storm", PackageResources.resize_storm_json),
  ("rfc-evicted-buffer", PackageResources.rfc_evicted_buffer_json),
  ("rfc-flag-honoured", PackageResources.rfc_flag_honoured_json),
  ("rfc-flag-ignored", PackageResources.rfc_flag_ignored_json),
  ("rfc-flag-validated", PackageResources.rfc_flag_validated_json),
  ("scanout-on-its-own-output", PackageResources.scanout_on_its_own_output_json),
  ("sibling-of-a-sleeper", PackageResources.sibling_of_a_sleeper_json),
  ("sibling-that-is-none", PackageResources.sibling_that_is_none_json),
  ("smithay-1330-plain-kernel", PackageResources.smithay_1330_plain_kernel_json),
  ("smithay-1330-two-amd", PackageResources.smithay_1330_two_amd_json),
  ("smithay-1330-unknowable", PackageResources.smithay_1330_unknowable_json),
  ("smithay-1755-scanout-elsewhere", PackageResources.smithay_1755_scanout_elsewhere_json),
  ("smithay-1811-software-renderer", PackageResources.smithay_1811_software_renderer_json),
  ("smithay-1844-pinephone", PackageResources.smithay_1844_pinephone_json),
  ("software-only", PackageResources.software_only_json),
  ("two-intel", PackageResources.two_intel_json),
  ("two-virtio", PackageResources.two_virtio_json),
  ("udmabuf-client", PackageResources.udmabuf_client_json),
  ("unopenable-node", PackageResources.unopenable_node_json),
  ("unopenable-node-flag", PackageResources.unopenable_node_flag_json),
  ("vdi-host", PackageResources.vdi_host_json),
  ("wlroots-2024-vkms", PackageResources.wlroots_2024_vkms_json),
  ("woken-and-not-noticed", PackageResources.woken_and_not_noticed_json),
  ("xe-sleeping-exporter", PackageResources.xe_sleeping_exporter_json),
]

extension Scenario {
  package static var builtInNames: [String] { builtIns.map(\.name) }

  /// The file's text; nil: no built-in scenario has this name.
  package static func builtInText(_ name: String) -> [UInt8]? {
    builtIns.first { $0.name == name }?.text
  }

  /// The name of a built-in scenario, else the path of a file.
  package init(named name: String) throws(ScenarioError) {
    if let text = Self.builtInText(name) {
      try self.init(json: text)
      return
    }
    guard let text = readScenarioFile(name) else {
      throw .content(
        path: name,
        problem: "no file that can be read, and none of those built in: `primectl scenario list`")
    }
    try self.init(json: text)
  }
}
