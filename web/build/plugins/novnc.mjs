import { patch } from "../patch.mjs";

// noVNC waits for the answer about H.264 before anything of it can run, and other modules cannot be bundled around
// such a wait. The answer comes in milliseconds, long before a server is asked for H.264.
export default patch("novnc-no-wait", /@novnc\/novnc\/core\/util\/browser\.js$/, [
  {
    find: "supportsWebCodecsH264Decode = await _checkWebCodecsH264DecodeSupport();",
    replace: "_checkWebCodecsH264DecodeSupport().then((can) => { supportsWebCodecsH264Decode = can; }, () => {});",
    count: 1,
  },
]);
