/** The page: loads the session, and shows it. */

import { useEffect, useState } from "preact/hooks";
import { type Session, api } from "./api";
import { Viewer } from "./viewer";

export function App() {
  const [session, setSession] = useState<Session | null>(null);
  const [error, setError] = useState<string | null>(null);
  const isOpening = !session || session.data.state === "opening";
  useEffect(() => {
    let timer = 0;
    const load = async (): Promise<void> => {
      try {
        const found = await api.session();
        setSession(found);
        if (found.data.state === "opening") timer = window.setTimeout(load, 300);
        if (found.data.state === "failed") setError(found.data.error);
      } catch (fault) {
        setError((fault as Error).message);
      }
    };
    void load();
    return () => clearTimeout(timer);
  }, []);
  if (error) return <main class="message"><h1>This does not open</h1><p role="alert">{error}</p></main>;
  if (isOpening) return <main class="message" aria-busy="true"><p>Opening {session?.data.name ?? "…"}</p></main>;
  return <Viewer session={session} />;
}
