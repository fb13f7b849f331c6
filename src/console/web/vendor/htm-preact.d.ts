// The types of what the console uses of it.

type SetState<T> = (value: T | ((old: T) => T)) => void;

export function html(strings: TemplateStringsArray, ...values: any[]): any;
export function render(tree: any, parent: Element): void;
export function useState<T>(initial: T | (() => T)): [T, SetState<T>];
export function useEffect(effect: () => void | (() => void), dependencies?: unknown[]): void;
export function useLayoutEffect(effect: () => void | (() => void), dependencies?: unknown[]): void;
export function useMemo<T>(make: () => T, dependencies: unknown[]): T;
export function useCallback<T>(callback: T, dependencies: unknown[]): T;
export function useRef<T>(initial: T): { current: T };
