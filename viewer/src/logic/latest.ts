/**
 * One call at work at a time: what is asked meanwhile waits, and of that only the last is done.
 *
 * For work that follows a pointer: its answers are never older than one call, and never pile up.
 */
export function latest<T>(work: (argument: T) => Promise<void>): (argument: T) => Promise<void> {
  let running: Promise<void> | null = null;
  let waiting: { argument: T } | null = null;
  const run = async (argument: T): Promise<void> => {
    let following: { argument: T } | null = { argument };
    while (following) {
      try {
        await work(following.argument);
      } catch (fault) {
        if (!waiting) throw fault;
      }
      following = waiting;
      waiting = null;
    }
  };
  return (argument) => {
    if (running) {
      waiting = { argument };
      return running;
    }
    running = run(argument).finally(() => (running = null));
    return running;
  };
}
