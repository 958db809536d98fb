/** Points between two latents z, which are normal with mean 0 and deviation 1. */

/** Spherical interpolation: z at `position` from 0 (`from`) to 1 (`to`), of a length between both. */
export function slerp(from, to, position) {
  const dot = from.reduce((sum, value, index) => sum + value * to[index], 0);
  const cosine = dot / (length(from) * length(to));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  // z in the same or the opposite direction have no one arc between them
  const [first, second] =
    sine < 1e-6
      ? [1 - position, position]
      : [Math.sin((1 - position) * angle) / sine, Math.sin(position * angle) / sine];
  return from.map((value, index) => first * value + second * to[index]);
}

function length(z) {
  return Math.sqrt(z.reduce((sum, value) => sum + value * value, 0));
}
